/* See cgroup_place.h. */
#include "gateway/supervise/cgroup_place.h"

#include <stdio.h>
#include <string.h>

const char *const rf_cgroup_names[RF_CGROUP_KINDS] = {"memory", "pids", "cpu"};

#define LINE_MAX_BYTES 8192
#define WORDS_MAX 64

static bool next_line(struct rf_bytes *text, char ret[LINE_MAX_BYTES])
{
    if (!text->len)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t n = end ? (size_t)(end - text->data) : text->len;
    snprintf(ret, LINE_MAX_BYTES, "%.*s", (int)(n < LINE_MAX_BYTES ? n : 0), (const char *)text->data);
    text->data += n + !!end;
    text->len -= n + !!end;
    return true;
}

static bool list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ','))
            return true;
    return false;
}

/* The path of our cgroup in the hierarchy with this controller; NULL: in v2's. */
static bool own_path(struct rf_bytes proc_cgroup, const char *controller, char ret[PATH_MAX])
{
    char line[LINE_MAX_BYTES];
    while (next_line(&proc_cgroup, line)) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        if (controller ? list_has(list + 1, controller) : !list[1])
            return snprintf(ret, PATH_MAX, "%s", path) < PATH_MAX;
    }
    return false;
}

/* Blanks and backslashes are written \NNN there. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; to++) {
        unsigned code;
        if (*at == '\\' && sscanf(at + 1, "%3o", &code) == 1) {
            *to = (char)code;
            at += 4;
        } else {
            *to = *at++;
        }
    }
    *to = '\0';
}

/* Mount point + what remains of the path below the mounted root. */
static void join(char ret[PATH_MAX], const char *point, const char *root, const char *path)
{
    size_t n = strcmp(root, "/") ? strlen(root) : 0;
    bool inside = !strncmp(path, root, n) && (!path[n] || path[n] == '/') &&
                  strncmp(path, "/..", 3) != 0;
    const char *rest = inside && strcmp(path + n, "/") ? path + n : "";
    if (!inside || snprintf(ret, PATH_MAX, "%s%s", point, rest) >= PATH_MAX)
        ret[0] = '\0';
}

/* One line of mountinfo: id parent dev root point options [more...] - type source super */
static void read_mount(char *line, struct rf_bytes proc_cgroup, struct rf_cgroup_place *ret)
{
    char *words[WORDS_MAX], path[PATH_MAX];
    size_t n = 0, dash = 6;
    for (char *word; n < WORDS_MAX && (word = strsep(&line, " "));)
        words[n++] = word;
    while (dash < n && strcmp(words[dash], "-") != 0)
        dash++;
    if (dash + 3 >= n)
        return;
    const char *type = words[dash + 1], *options = words[dash + 3];
    unescape(words[3]);
    unescape(words[4]);
    if (!strcmp(type, "cgroup2") && !ret->v2[0] && own_path(proc_cgroup, NULL, path))
        join(ret->v2, words[4], words[3], path);
    for (int kind = 0; !strcmp(type, "cgroup") && kind < RF_CGROUP_KINDS; kind++)
        if (list_has(options, rf_cgroup_names[kind]) && !ret->v1[kind][0] &&
            own_path(proc_cgroup, rf_cgroup_names[kind], path))
            join(ret->v1[kind], words[4], words[3], path);
}

void rf_cgroup_find(struct rf_bytes proc_cgroup, struct rf_bytes mountinfo,
                    struct rf_cgroup_place *ret)
{
    char line[LINE_MAX_BYTES];
    memset(ret, 0, sizeof(*ret));
    while (next_line(&mountinfo, line))
        read_mount(line, proc_cgroup, ret);
}
