/* SPDX-License-Identifier: Apache-2.0 */
/* model/file.c - mapping, reading, and replacing files. */
#include "model/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens path for reading; *bytes its size. */
static int open_regular(const char *path, size_t *bytes, struct error *e)
{
    struct stat st;
    const int   fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        fail(e, EK_E_IO, "%s: not a regular file", path);
        close(fd);
        return -1;
    }
    *bytes = (size_t)st.st_size;
    return fd;
}

void want_huge_pages(void *p, size_t bytes)
{
    if (bytes >= HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
}

ek_status file_map(struct file *f, const char *path, struct error *e)
{
    *f           = (struct file){NULL, 0};
    const int fd = open_regular(path, &f->bytes, e);
    if (fd < 0) return EK_E_IO;
    void *p = f->bytes ? mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    close(fd);
    if (p == MAP_FAILED) return fail(e, EK_E_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    f->data = p;
    want_huge_pages(p, f->bytes);
    return EK_OK;
}

void file_unmap(struct file *f)
{
    union {
        const void *in;
        void       *at;
    } map = {.in = f->data}; /* munmap wants a pointer that is not const */
    if (f->data) munmap(map.at, f->bytes);
    *f = (struct file){NULL, 0};
}

ek_status file_read(const char *path, size_t limit, char **data, size_t *bytes, struct error *e)
{
    size_t    size, have = 0;
    const int fd = open_regular(path, &size, e);
    if (fd < 0) return EK_E_IO;
    ek_status s = EK_OK;
    char     *p = NULL;
    if (size > limit)
        s = fail(e, EK_E_FORMAT, "%s: %zu bytes, more than the %zu expected at most", path, size,
                 limit);
    else if (!(p = malloc(size + 1)))
        s = fail(e, EK_E_NOMEM, "%s: out of memory", path);
    while (!s && have < size) {
        const ssize_t n = read(fd, p + have, size - have);
        if (n > 0)
            have += (size_t)n;
        else if (n == 0)
            size = have; /* it shrank */
        else if (errno != EINTR)
            s = fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    }
    close(fd);
    if (s) {
        free(p);
        return s;
    }
    p[have] = '\0';
    *data = p, *bytes = have;
    return EK_OK;
}

static int write_all(int fd, const char *p, size_t bytes)
{
    while (bytes) {
        const ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno != EINTR) return -1;
        if (n > 0) p += n, bytes -= (size_t)n;
    }
    return fsync(fd);
}

ek_status file_write(const char *path, const void *data, size_t bytes, struct error *e)
{
    char      name[4096];
    const int n = snprintf(name, sizeof name, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof name) return fail(e, EK_E_ARG, "%s: name too long", path);
    const int fd = mkstemp(name);
    if (fd < 0) return fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    const int bad = write_all(fd, data, bytes) || fchmod(fd, 0644);
    if (close(fd) || bad || rename(name, path)) {
        fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
        unlink(name);
        return EK_E_IO;
    }
    return EK_OK;
}

int file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

ek_status path_join(char *out, size_t size, const char *dir, const char *name, struct error *e)
{
    const int n = snprintf(out, size, "%s/%s", dir, name);
    return n < 0 || (size_t)n >= size ? fail(e, EK_E_ARG, "%s/%s: name too long", dir, name)
                                      : EK_OK;
}
