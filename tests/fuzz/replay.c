/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a fuzz target over files and directories of inputs: replay_NAME PATH... */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { INPUT_MAX = 1 << 20 };

static unsigned n_inputs;

static int fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
}

/* The heap copy has exactly the input's size, so that the sanitizer sees a read behind it. */
static int run_file(const char *path)
{
    static uint8_t buffer[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *input;
    size_t len;

    if (file == NULL)
        return fail(path);
    len = fread(buffer, 1, sizeof(buffer), file);
    fclose(file);
    input = malloc(len > 0 ? len : 1);
    if (input == NULL)
        return fail(path);
    memcpy(input, buffer, len);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(input, len);
    n_inputs++;
    free(input);
    return 0;
}

static int run_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int status = 0;

    if (directory == NULL)
        return fail(path);
    while (status == 0 && (entry = readdir(directory)) != NULL) {
        char file[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        status = run_file(file);
    }
    closedir(directory);
    return status;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat info;
        int status;

        if (stat(argv[i], &info) != 0)
            return fail(argv[i]);
        status = S_ISDIR(info.st_mode) ? run_directory(argv[i]) : run_file(argv[i]);
        if (status != 0)
            return status;
    }
    fprintf(stderr, "%u inputs\n", n_inputs);
    return n_inputs > 0 ? 0 : 1;
}
