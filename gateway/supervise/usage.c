/* See usage.h. */
#include "gateway/supervise/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "gateway/supervise/watchdog.h"

#define CROWD 2 /* processes that are ready to run, for each processor */

static double percent(uint64_t part, uint64_t before, double whole)
{
    return whole > 0 && part > before ? 100.0 * (double)(part - before) / whole : 0.0;
}

static void read_host(uint64_t *ret_busy, uint64_t *ret_total)
{
    unsigned long long t[8] = {0}; /* user nice system idle iowait irq softirq steal */
    FILE *file = fopen("/proc/stat", "re");
    if (file && fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2],
                       &t[3], &t[4], &t[5], &t[6], &t[7]) == 8) {
        for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++)
            *ret_total += t[i];
        *ret_busy = *ret_total - t[3] - t[4];
    }
    if (file)
        fclose(file);
}

/* As psutil.virtual_memory() has it, in bytes. */
static void tell_host_memory(struct rf_buf *to)
{
    static const struct {
        const char *name, *line;
    } fields[] = {{"total", "MemTotal"},   {"available", "MemAvailable"}, {"free", "MemFree"},
                  {"active", "Active"},    {"inactive", "Inactive"},      {"buffers", "Buffers"},
                  {"cached", "Cached"},    {"shared", "Shmem"},           {"slab", "Slab"}};
    enum { N = sizeof(fields) / sizeof(*fields) };
    unsigned long long bytes[N] = {0}, kb;
    char line[128], name[64];
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof(line), file))
        for (size_t i = 0; i < N && sscanf(line, "%63[^:]: %llu", name, &kb) == 2; i++)
            if (!strcmp(name, fields[i].line))
                bytes[i] = kb * 1024;
    if (file)
        fclose(file);
    unsigned long long used = bytes[0] - bytes[1];
    rf_buf_printf(to, ",\"host_virtual_memory\":{\"used\":%llu,\"percent\":%.1f", used,
                  bytes[0] ? 100.0 * (double)used / (double)bytes[0] : 0.0);
    for (size_t i = 0; i < N; i++)
        rf_buf_printf(to, ",\"%s\":%llu", fields[i].name, bytes[i]);
    rf_buf_add_str(to, "}");
}

void rf_usage_tell(struct rf_usage *usage, pid_t root, int64_t now_us, struct rf_buf *to)
{
    struct rf_usage now = {.asked_us = now_us, .ticks = root ? rf_tree_ticks(root) : 0};
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    read_host(&now.host_busy, &now.host_total);
    rf_buf_add_str(to, "{\"status\":\"ok\",\"hostname\":");
    rf_json_encode(rf_bytes_str(host), to);
    double ticks = (double)(now_us - usage->asked_us) * 1e-6 * (double)sysconf(_SC_CLK_TCK);
    rf_buf_printf(to, ",\"pid\":%d,\"kernel_cpu\":%.1f,\"kernel_memory\":%" PRIu64, (int)getpid(),
                  usage->asked_us ? percent(now.ticks, usage->ticks, ticks) : 0.0,
                  root ? rf_tree_memory(root, 0) : 0);
    rf_buf_printf(to, ",\"cpu_count\":%ld", sysconf(_SC_NPROCESSORS_ONLN));
    if (usage->asked_us)
        rf_buf_printf(to, ",\"host_cpu_percent\":%.1f",
                      percent(now.host_busy, usage->host_busy,
                              (double)(now.host_total - usage->host_total)));
    tell_host_memory(to);
    rf_buf_add_str(to, "}");
    *usage = now;
}

bool rf_usage_is_crowded(void)
{
    long ready = 0;
    FILE *file = fopen("/proc/loadavg", "re");
    bool known = file && fscanf(file, "%*s %*s %*s %ld", &ready) == 1;
    if (file)
        fclose(file);
    return known && ready > CROWD * sysconf(_SC_NPROCESSORS_ONLN);
}
