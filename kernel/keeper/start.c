/* See start.h. */
#include "kernel/keeper/start.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

void rf_verdict_say(int to, int code, int have, const char *text)
{
    struct rf_verdict verdict = {.code = code, .have = have};
    snprintf(verdict.text, sizeof(verdict.text), "%s", text);
    (void)!send(to, &verdict, sizeof(verdict), MSG_NOSIGNAL);
}

bool rf_verdict_hear(int from, struct rf_verdict *ret)
{
    ssize_t n;
    do
        n = recv(from, ret, sizeof(*ret), 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*ret);
}
