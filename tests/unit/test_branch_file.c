/* gateway/cli/branch_file: Jupyter's runtime folder, and names in it. */
#include "tests/unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/cli/branch_file.h"

static const char *const variables[] = {"JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_DATA_HOME",
                                        "HOME"};
static const char *const rests[] = {"", "/runtime", "/jupyter/runtime",
                                    "/.local/share/jupyter/runtime"};

/* The first variable that is set wins, as in jupyter_core; the folder is made, for us alone. */
static void runtime_folder(void **state)
{
    char base[] = "/tmp/rf-branch-XXXXXX", want[PATH_MAX], got[PATH_MAX];
    struct rf_error err = {0};
    struct stat st;
    assert_non_null(mkdtemp(base));
    for (size_t i = 4; i-- > 0;) {
        int n = snprintf(want, sizeof(want), "%s/%zu", base, i);
        setenv(variables[i], want, 1);
        snprintf(want + n, sizeof(want) - (size_t)n, "%s", rests[i]);
        assert_int_equal(rf_jupyter_runtime(got, &err), 0);
        assert_string_equal(got, want);
        assert_int_equal(stat(got, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        chmod(got, 0755); /* one that is there is left as it is */
        assert_int_equal(rf_jupyter_runtime(got, &err), 0);
        assert_int_equal(stat(got, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
    }
    setenv("JUPYTER_RUNTIME_DIR", "", 1); /* the same as none */
    assert_int_equal(rf_jupyter_runtime(got, &err), 0);
    snprintf(want, sizeof(want), "%s/1/runtime", base);
    assert_string_equal(got, want);
    for (size_t i = 0; i < 4; i++)
        unsetenv(variables[i]);
    assert_int_equal(rf_jupyter_runtime(got, &err), -ENOENT);
    assert_non_null(strstr(err.text, "JUPYTER_RUNTIME_DIR"));
    snprintf(got, sizeof(got), "rm -r %s", base);
    pclose(popen(got, "r"));
}

static void names(void **state)
{
    static const char *const files[][2] = {
        {"/x/kernel-1234-ab.json", "kernel-1234-ab-branch-7.json"},
        {"c.json", "kernel-c-branch-7.json"},
        {"/x/../y/my.kernel.json", "kernel-my-branch-7.json"},
    };
    char got[PATH_MAX], want[64];
    struct rf_error err = {0};
    setenv("JUPYTER_RUNTIME_DIR", "/tmp", 1);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        assert_int_equal(rf_branch_file(files[i][0], 7, got, &err), 0);
        snprintf(want, sizeof(want), "/tmp/%s", files[i][1]);
        assert_string_equal(got, want);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(runtime_folder),
        cmocka_unit_test(names),
    };
    return TESTS(tests);
}
