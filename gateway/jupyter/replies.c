/* See replies.h. */
#include "gateway/jupyter/replies.h"

#include <inttypes.h>

#include "common/json.h"

#define PROTOCOL_VERSION "5.5"

static void add_traceback(struct rf_buf *to, struct rf_bytes lines)
{
    rf_buf_add_str(to, "[");
    for (bool first = true; lines.len; first = false) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        size_t n = end ? (size_t)(end - lines.data) : lines.len;
        if (!first)
            rf_buf_add_str(to, ",");
        rf_json_encode((struct rf_bytes){lines.data, n}, to);
        n += end ? 1 : 0;
        lines = (struct rf_bytes){lines.data + n, lines.len - n};
    }
    rf_buf_add_str(to, "]");
}

static void add_trouble(struct rf_buf *to, const struct rf_trouble *trouble)
{
    rf_buf_add_str(to, "\"ename\":");
    rf_json_encode(rf_bytes_str(trouble->ename), to);
    rf_buf_add_str(to, ",\"evalue\":");
    rf_json_encode(trouble->evalue, to);
    rf_buf_add_str(to, ",\"traceback\":");
    add_traceback(to, trouble->traceback);
}

static void add_execute_members(struct rf_buf *to, uint64_t count)
{
    rf_buf_printf(to, ",\"execution_count\":%" PRIu64 ",\"user_expressions\":{},\"payload\":[]",
                  count);
}

void rf_reply_error_output(struct rf_buf *to, const struct rf_trouble *trouble)
{
    rf_buf_add_str(to, "{");
    add_trouble(to, trouble);
    rf_buf_add_str(to, "}");
}

void rf_reply_error(struct rf_buf *to, const struct rf_trouble *trouble, const uint64_t *count)
{
    rf_buf_add_str(to, "{\"status\":\"error\",");
    add_trouble(to, trouble);
    if (count)
        add_execute_members(to, *count);
    rf_buf_add_str(to, "}");
}

void rf_reply_aborted(struct rf_buf *to, uint64_t count)
{
    rf_buf_add_str(to, "{\"status\":\"aborted\"");
    add_execute_members(to, count);
    rf_buf_add_str(to, "}");
}

static bool is_object(struct rf_bytes value)
{
    return value.len && value.data[0] == '{';
}

static bool is_array(struct rf_bytes value)
{
    return value.len && value.data[0] == '[';
}

/* The worker's banner and, on lines of its own, the gateway's note. */
static void add_banner(struct rf_buf *to, struct rf_bytes banner, const char *note)
{
    struct rf_buf text = {0};
    rf_json_decode(banner, &text);
    if (note && *note) {
        if (text.len && text.data[text.len - 1] != '\n')
            rf_buf_add_str(&text, "\n");
        rf_buf_add_str(&text, note);
    }
    to->failed |= text.failed;
    rf_json_encode(rf_buf_bytes(&text), to);
    rf_buf_deinit(&text);
}

void rf_reply_kernel_info(struct rf_buf *to, struct rf_bytes info,
                          const struct rf_kernel_options *options)
{
    enum { NAME, VERSION, LANGUAGE, BANNER, LINKS, MEMBERS };
    struct rf_json_member members[MEMBERS] = {
        [NAME] = {"implementation", {0}},     [VERSION] = {"implementation_version", {0}},
        [LANGUAGE] = {"language_info", {0}},  [BANNER] = {"banner", {0}},
        [LINKS] = {"help_links", {0}},
    };
    rf_json_object(info, members, MEMBERS);
    struct rf_bytes name = members[NAME].value, version = members[VERSION].value;
    rf_buf_add_str(to, "{\"status\":\"ok\",\"protocol_version\":\"" PROTOCOL_VERSION
                       "\",\"implementation\":");
    rf_buf_add_bytes(to, rf_json_is_string(name) ? name : RF_BYTES("\"ringfence\""));
    rf_buf_add_str(to, ",\"implementation_version\":");
    if (rf_json_is_string(version))
        rf_buf_add_bytes(to, version);
    else
        rf_json_encode(rf_bytes_str(options->implementation_version), to);
    rf_buf_add_str(to, ",\"language_info\":");
    rf_buf_add_bytes(to, is_object(members[LANGUAGE].value)
                             ? members[LANGUAGE].value
                             : RF_BYTES("{\"name\":\"unknown\",\"version\":\"\",\"mimetype\":"
                                        "\"text/plain\",\"file_extension\":\".txt\"}"));
    rf_buf_add_str(to, ",\"banner\":");
    add_banner(to, members[BANNER].value, options->banner_note);
    rf_buf_add_str(to, ",\"help_links\":");
    rf_buf_add_bytes(to, is_array(members[LINKS].value) ? members[LINKS].value : RF_BYTES("[]"));
    rf_buf_add_str(to, ",\"supported_features\":[],\"debugger\":false}");
}

void rf_reply_connect(struct rf_buf *to, const struct rf_kernel_options *options)
{
    rf_buf_printf(to,
                  "{\"status\":\"ok\",\"shell_port\":%d,\"iopub_port\":%d,\"stdin_port\":%d,"
                  "\"control_port\":%d,\"hb_port\":%d}",
                  options->ports.shell, options->ports.iopub, options->ports.stdin_,
                  options->ports.control, options->ports.hb);
}

void rf_reply_comm_close(struct rf_buf *to, struct rf_bytes comm_id)
{
    rf_buf_add_str(to, "{\"comm_id\":");
    rf_json_encode(comm_id, to);
    rf_buf_add_str(to, ",\"data\":{}}");
}

void rf_reply_stream(struct rf_buf *to, const char *name, struct rf_bytes text)
{
    rf_buf_printf(to, "{\"name\":\"%s\",\"text\":", name);
    rf_json_encode(text, to);
    rf_buf_add_str(to, "}");
}

void rf_reply_execute_input(struct rf_buf *to, struct rf_bytes code, uint64_t count)
{
    rf_buf_add_str(to, "{\"code\":");
    rf_buf_add_bytes(to, code);
    rf_buf_printf(to, ",\"execution_count\":%" PRIu64 "}", count);
}

struct rf_bytes rf_reply_content(const struct rf_buf *buf)
{
    if (rf_buf_ok(buf))
        return rf_buf_bytes(buf);
    return RF_BYTES("{\"status\":\"error\",\"ename\":\"MemoryError\",\"evalue\":"
                    "\"the gateway is out of memory\",\"traceback\":[],\"name\":\"stderr\","
                    "\"text\":\"the gateway is out of memory\\n\"}");
}

static bool is_ascii(struct rf_bytes text)
{
    size_t i = 0;
    for (; i + 8 <= text.len; i += 8) {
        uint64_t word;
        memcpy(&word, text.data + i, sizeof(word));
        if (word & 0x8080808080808080u)
            return false;
    }
    for (; i < text.len; i++)
        if (text.data[i] & 0x80)
            return false;
    return true;
}

struct rf_bytes rf_reply_clean(struct rf_bytes text, struct rf_buf *to)
{
    if (is_ascii(text))
        return text;
    rf_utf8_clean(text, true, to);
    return rf_buf_ok(to) ? rf_buf_bytes(to) : (struct rf_bytes){0};
}

/* The end of the array element at the start of `rest`, which is JSON. */
static size_t element_length(struct rf_bytes rest)
{
    size_t depth = 0, i = 0;
    bool in_string = false;
    for (; i < rest.len; i++) {
        uint8_t c = rest.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (!depth && (c == ',' || c == ']')) {
            break;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return i < rest.len ? i : rest.len;
}

bool rf_reply_asks_exit(struct rf_bytes payload)
{
    if (!is_array(payload))
        return false;
    struct rf_bytes rest = {payload.data + 1, payload.len - 1};
    while (rest.len) {
        size_t n = element_length(rest);
        struct rf_json_member members[] = {{"source", {0}}, {"keepkernel", {0}}};
        if (!rf_json_object((struct rf_bytes){rest.data, n}, members, 2) &&
            rf_json_string_is(members[0].value, "ask_exit") && !rf_json_is_true(members[1].value))
            return true;
        n += n < rest.len ? 1 : 0;
        rest = (struct rf_bytes){rest.data + n, rest.len - n};
    }
    return false;
}
