/* What of /etc is in every sandbox. */
#include <glob.h>

#include "kernel/sandbox/steps.h"

/* What of /etc programs need to work and says nothing of this machine's secrets. */
static const char *const etc[] = {
    "/etc/passwd",        "/etc/group",        "/etc/hosts",        "/etc/resolv.conf",
    "/etc/nsswitch.conf", "/etc/host.conf",    "/etc/gai.conf",     "/etc/protocols",
    "/etc/services",      "/etc/localtime",    "/etc/timezone",     "/etc/ld.so.cache",
    "/etc/ld.so.conf",    "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/ca-certificates", "/etc/ca-certificates.conf",
    "/etc/fonts",         "/etc/matplotlibrc", "/etc/ipython",
    "/etc/mime.types",    "/etc/magic",        "/etc/os-release",   "/etc/debian_version",
    "/etc/locale.alias",  "/etc/inputrc",      "/etc/shells",       "/etc/login.defs",
};

/* One folder for each version of Python, with its sitecustomize. */
#define PYTHON_ETC "/etc/python3*"

int rf_each_etc(int (*take)(void *ctx, const char *path), void *ctx)
{
    glob_t found = {0};
    int r = 0;
    for (size_t i = 0; !r && i < sizeof(etc) / sizeof(*etc); i++)
        r = take(ctx, etc[i]);
    if (!r && !glob(PYTHON_ETC, 0, NULL, &found))
        for (size_t i = 0; !r && i < found.gl_pathc; i++)
            r = take(ctx, found.gl_pathv[i]);
    globfree(&found);
    return r;
}
