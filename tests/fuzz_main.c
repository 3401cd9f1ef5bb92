/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_main.c - replays files through a fuzz target where there is no fuzzer: each argument
 * is a file or a directory of files. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) return -1;
    uint8_t *data = NULL;
    size_t   n = 0, more = 1;
    while (more) { /* in a block of its own, so that reads past the end are seen */
        uint8_t *longer = realloc(data, n + 65536);
        if (!longer) break;
        data = longer;
        more = fread(data + n, 1, 65536, f);
        n += more;
    }
    fclose(f);
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact || !data || more) {
        free(exact);
        free(data);
        return -1;
    }
    memcpy(exact, data, n);
    free(data);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

static int replay(const char *path, size_t *count)
{
    DIR *d   = opendir(path);
    int  bad = 0;
    if (!d) {
        ++*count;
        return replay_file(path);
    }
    for (const struct dirent *f; (f = readdir(d));) {
        char      name[4096];
        const int n = snprintf(name, sizeof name, "%s/%s", path, f->d_name);
        if (f->d_name[0] == '.') continue;
        bad |= n < 0 || (size_t)n >= sizeof name || replay_file(name);
        ++*count;
    }
    closedir(d);
    return bad;
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        if (replay(argv[i], &count)) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 1;
        }
    printf("%zu inputs\n", count);
    return count ? 0 : 1; /* a corpus that is gone is a failure */
}
