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

ek_status file_create(struct file_writer *w, const char *path, struct error *e)
{
    const int n = snprintf(w->temporary, sizeof w->temporary, "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof w->temporary)
        return fail(e, EK_E_ARG, "%s: name too long", path);
    snprintf(w->path, sizeof w->path, "%s", path);
    w->fd = mkstemp(w->temporary);
    return w->fd < 0 ? fail(e, EK_E_IO, "%s: %s", path, strerror(errno)) : EK_OK;
}

ek_status file_append(struct file_writer *w, const void *data, size_t bytes, struct error *e)
{
    for (const char *p = data; bytes;) {
        const ssize_t n = write(w->fd, p, bytes);
        if (n < 0 && errno != EINTR) return fail(e, EK_E_IO, "%s: %s", w->path, strerror(errno));
        if (n > 0) p += n, bytes -= (size_t)n;
    }
    return EK_OK;
}

ek_status file_finish(struct file_writer *w, int keep, struct error *e)
{
    int bad = keep && (fsync(w->fd) || fchmod(w->fd, 0644));
    if (close(w->fd)) bad = keep;
    if (keep && !bad) bad = rename(w->temporary, w->path) != 0;
    if (bad) fail(e, EK_E_IO, "%s: %s", w->path, strerror(errno));
    if (bad || !keep) unlink(w->temporary);
    return bad ? EK_E_IO : EK_OK;
}

ek_status file_write(const char *path, const void *data, size_t bytes, struct error *e)
{
    struct file_writer w;
    ek_status          s = file_create(&w, path, e);
    if (s) return s;
    s                    = file_append(&w, data, bytes, e);
    const ek_status done = file_finish(&w, !s, e);
    return s ? s : done;
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
