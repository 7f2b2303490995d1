/* See limit.h. */
#include "gateway/jupyter/limit.h"

#include <stdio.h>

void rf_limit_words(char ret[RF_LIMIT_WORDS_MAX], const char *key, const char *value,
                    const char *profile)
{
    snprintf(ret, RF_LIMIT_WORDS_MAX,
             "the limit %s (%s) of the profile %s; to raise it, set \"%s\" in a profile of "
             "~/.config/ringfence/config.json (docs/profiles.md)",
             key, value, profile && *profile ? profile : "workspace", key);
}

void rf_limit_bytes(char *ret, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    size_t unit = 0;
    double number = (double)bytes;
    for (; number >= 1024 && unit < 4; unit++)
        number /= 1024;
    snprintf(ret, size, "%.4g %s", number, units[unit]);
}

void rf_limit_time(char *ret, size_t size, int64_t us)
{
    snprintf(ret, size, "%.6g s", (double)us / 1e6);
}
