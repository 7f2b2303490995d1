/* Runs a fuzz target on the files and folders that are named as arguments,
 * without libFuzzer: so the corpus, and every input that once broke
 * something, is tried in each run and with each compiler.
 */
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static unsigned n_inputs;

static int run_file(const char *path, const struct stat *st, int type, struct FTW *where)
{
    if (type == FTW_D)
        return 0;
    FILE *file = type == FTW_F ? fopen(path, "rbe") : NULL;
    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    /* of its exact size, so that a sanitizer sees a read beyond it */
    size_t size = (size_t)st->st_size;
    uint8_t *data = malloc(size ? size : 1);
    int r = data && fread(data, 1, size, file) == size ? 0 : 1;
    fclose(file);
    if (!r) {
        LLVMFuzzerTestOneInput(data, size);
        n_inputs++;
    }
    free(data);
    return r;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (nftw(argv[i], run_file, 16, FTW_PHYS) != 0) {
            fprintf(stderr, "replay of %s failed\n", argv[i]);
            return 1;
        }
    printf("%u inputs\n", n_inputs);
    return n_inputs ? 0 : 1;
}
