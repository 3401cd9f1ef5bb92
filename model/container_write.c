/* SPDX-License-Identifier: Apache-2.0 */
/* model/container_write.c - writes our own model directory: whole, synced, then renamed. */
#include "ek/sparse.h"
#include "model/container.h"
#include "model/container_inner.h"
#include "model/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LIMIT = 4096, WINDOW = 8 << 20 };

struct container {
    char                     path[PATH_LIMIT], temporary[PATH_LIMIT];
    int                      fd;
    int                      made; /* the temporary directory is there */
    struct container_tensor *tensors;
    size_t                   count, data_at; /* where data starts in the file */
    size_t                  *written;
    unsigned char           *window; /* bytes [begin, end) of the file that are not written yet */
    size_t                   window_begin, window_end;
};

static ek_status io_error(const char *path, struct error *e)
{
    return fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
}

/* ---- places and header ---- */

/* Files have no gaps, yet packed data must be aligned: whatever is not a multiple of 64 bytes comes
 * last, wide elements first. */
static int place_class(const struct container_tensor *t)
{
    if (t->neurons) return 2; /* apart from what every token reads: a file tier leaves them there */
    if (ek_fmt_info(t->fmt)->layout == EK_LAYOUT_PANEL16) return 0;
    if (t->bytes % CONTAINER_ALIGNMENT == 0) return 1;
    return t->fmt == EK_FMT_f32 ? 3 : 4;
}

ek_status container_measure(struct container_tensor *t)
{
    return t->neurons ? ek_neurons_bytes(t->fmt, t->n, t->k, CONTAINER_NEURON_ROWS, &t->bytes, NULL)
                      : ek_weights_bytes(t->fmt, t->n, t->k, &t->bytes, NULL);
}

static ek_status place_tensors(struct container *c, struct error *e)
{
    struct container_tensor *sorted = calloc(c->count + 1, sizeof *sorted);
    size_t                   at = 0, kept = 0;
    ek_status bad = sorted ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", c->path);
    for (size_t i = 0; i < c->count && !bad; i++) {
        struct container_tensor *t = &c->tensors[i];
        bad                        = container_measure(t);
        if (bad) bad = fail(e, bad, "%s: tensor %s: too large", c->path, t->name);
    }
    for (int place = 0; place < 5 && !bad; place++)
        for (size_t i = 0; i < c->count; i++) {
            if (place_class(&c->tensors[i]) != place) continue;
            sorted[kept]       = c->tensors[i];
            sorted[kept].begin = at;
            at += sorted[kept++].bytes;
        }
    if (!bad) memcpy(c->tensors, sorted, c->count * sizeof *sorted);
    free(sorted);
    return bad;
}

static json_t *entry(const struct container_tensor *t)
{
    static const char *const dtypes[] = {"F32", "F16", "BF16"};
    const size_t             end      = t->begin + t->bytes;
    const int packed = t->neurons || ek_fmt_info(t->fmt)->layout == EK_LAYOUT_PANEL16;
    json_t   *shape  = packed      ? json_pack("[I]", (json_int_t)t->bytes)
                       : t->vector ? json_pack("[I]", (json_int_t)t->k)
                                   : json_pack("[I, I]", (json_int_t)t->n, (json_int_t)t->k);
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", packed ? "U8" : dtypes[t->fmt], "shape",
                     shape, "data_offsets", (json_int_t)t->begin, (json_int_t)end);
}

static json_t *metadata_entry(const struct container_tensor *t)
{
    const struct ek_fmt_info *f = ek_fmt_info(t->fmt);
    if (t->neurons)
        return json_sprintf(
            "format=%s rows=%zu columns=%zu parts=%d layout=%d version=%d checksum=%016llx",
            f->name, t->n, t->k, CONTAINER_NEURON_ROWS, EK_LAYOUT_NEURON, CONTAINER_LAYOUT_VERSION,
            (unsigned long long)t->checksum);
    if (f->layout != EK_LAYOUT_PANEL16)
        return json_sprintf("checksum=%016llx", (unsigned long long)t->checksum);
    return json_sprintf("format=%s rows=%zu columns=%zu layout=%d version=%d checksum=%016llx",
                        f->name, t->n, t->k, (int)f->layout, CONTAINER_LAYOUT_VERSION,
                        (unsigned long long)t->checksum);
}

/* The header's text, as long whatever the checksums are; NULL when memory runs out. */
static char *header_text(const struct container *c)
{
    json_t *root = json_object(), *metadata = json_object();
    int     bad = json_object_set_new(metadata, CONTAINER_KEY, json_string(CONTAINER_VERSION));
    bad |= json_object_set_new(root, "__metadata__", metadata);
    for (size_t i = 0; i < c->count; i++) {
        const struct container_tensor *t = &c->tensors[i];
        bad |= json_object_set_new(metadata, t->name, metadata_entry(t));
        bad |= json_object_set_new(root, t->name, entry(t));
    }
    char *text = bad ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static ek_status flush(struct container *c, struct error *e)
{
    while (c->window_begin < c->window_end) {
        const ssize_t n = pwrite(c->fd, c->window + c->window_begin % WINDOW,
                                 c->window_end - c->window_begin, (off_t)c->window_begin);
        if (n < 0 && errno != EINTR) return io_error(c->path, e);
        if (n > 0) c->window_begin += (size_t)n;
    }
    return EK_OK;
}

/* Gathers what follows on itself: a system keeps a file in pieces as large as it was written, and
 * huge ones are read faster. */
static ek_status write_at(struct container *c, const void *data, size_t bytes, size_t at,
                          struct error *e)
{
    for (const unsigned char *p = data; bytes;) {
        if (at != c->window_end || at % WINDOW == 0) {
            const ek_status bad = flush(c, e);
            if (bad) return bad;
            c->window_begin = c->window_end = at;
        }
        const size_t room = WINDOW - at % WINDOW, n = bytes < room ? bytes : room;
        memcpy(c->window + at % WINDOW, p, n);
        p += n, at += n, bytes -= n, c->window_end = at;
    }
    return EK_OK;
}

/* Length, text, and spaces up to the alignment of the data. */
static ek_status write_header(struct container *c, struct error *e)
{
    char *text = header_text(c);
    if (!text) return fail(e, EK_E_NOMEM, "%s: out of memory", c->path);
    const size_t    length = strlen(text);
    uint64_t        field  = c->data_at - sizeof field;
    char           *header = malloc(c->data_at);
    const ek_status bad    = header ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", c->path);
    if (header) {
        memset(header, ' ', c->data_at);
        memcpy(header, &field, sizeof field);
        /* The spaces behind it are what ends it. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
        memcpy(header + sizeof field, text, length);
    }
    free(text);
    const ek_status written = bad ? bad : write_at(c, header, c->data_at, 0, e);
    free(header);
    return written;
}

/* ---- the directory ---- */

static int is_empty(const char *path)
{
    DIR *d     = opendir(path);
    int  empty = d != NULL;
    for (const struct dirent *f; d && (f = readdir(d));)
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0) empty = 0;
    if (d) closedir(d);
    return empty;
}

static int is_ours(const char *path)
{
    char    name[PATH_LIMIT];
    json_t *root = NULL;
    if (!path_join(name, sizeof name, path, "config.json", NULL))
        root = json_load_file(name, 0, NULL);
    const int ours = json_is_object(json_object_get(root, CONTAINER_KEY));
    json_decref(root);
    return ours;
}

/* May path be replaced? */
static ek_status check_target(const char *path, int force, struct error *e)
{
    struct stat st;
    if (lstat(path, &st)) return errno == ENOENT ? EK_OK : io_error(path, e);
    if (!S_ISDIR(st.st_mode)) return fail(e, EK_E_IO, "%s: is there and no directory", path);
    if (force || is_empty(path) || is_ours(path)) return EK_OK;
    return fail(e, EK_E_IO, "%s: is there and not ours; --force replaces it", path);
}

/* Removes a directory of plain files. */
static void remove_directory(const char *path)
{
    char name[PATH_LIMIT];
    DIR *d = opendir(path);
    for (const struct dirent *f; d && (f = readdir(d));)
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0 &&
            !path_join(name, sizeof name, path, f->d_name, NULL))
            unlink(name);
    if (d) closedir(d);
    rmdir(path);
}

static ek_status sync_directory(const char *path, struct error *e)
{
    const int fd  = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int bad = fd < 0 || fsync(fd);
    if (fd >= 0) close(fd);
    return bad ? io_error(path, e) : EK_OK;
}

static ek_status make_temporary(struct container *c, struct error *e)
{
    char      file[PATH_LIMIT];
    const int n = snprintf(c->temporary, sizeof c->temporary, "%s.tmpXXXXXX", c->path);
    if (n < 0 || (size_t)n >= sizeof c->temporary)
        return fail(e, EK_E_ARG, "%s: name too long", c->path);
    if (!mkdtemp(c->temporary)) return io_error(c->temporary, e);
    c->made = 1;
    if (chmod(c->temporary, 0755)) return io_error(c->temporary, e);
    const ek_status bad = path_join(file, sizeof file, c->temporary, "model.safetensors", e);
    if (bad) return bad;
    c->fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return c->fd < 0 ? io_error(file, e) : EK_OK;
}

static ek_status begin(struct container *c, const char *path, int force, struct error *e)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (!n || n >= sizeof c->path) return fail(e, EK_E_ARG, "%s: no name for a directory", path);
    memcpy(c->path, path, n);
    ek_status bad = check_target(c->path, force, e);
    if (!bad) bad = place_tensors(c, e);
    if (!bad) bad = make_temporary(c, e);
    if (bad) return bad;
    char *text = header_text(c);
    if (!text) return fail(e, EK_E_NOMEM, "%s: out of memory", c->path);
    const size_t least = sizeof(uint64_t) + strlen(text);
    c->data_at = (least + CONTAINER_ALIGNMENT - 1) / CONTAINER_ALIGNMENT * CONTAINER_ALIGNMENT;
    free(text);
    return EK_OK;
}

ek_status container_begin(struct container **c, const char *path, int force,
                          struct container_tensor *tensors, size_t count, struct error *e)
{
    struct container *made = calloc(1, sizeof *made);
    if (made) *made = (struct container){.fd = -1, .tensors = tensors, .count = count};
    if (made) made->written = calloc(count + 1, sizeof *made->written);
    if (made) made->window = malloc(WINDOW);
    const ek_status bad = made && made->written && made->window
                              ? begin(made, path, force, e)
                              : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (bad)
        container_close(made);
    else
        *c = made;
    return bad;
}

ek_status container_put(struct container *c, size_t i, const void *data, size_t bytes,
                        struct error *e)
{
    struct container_tensor *t = &c->tensors[i];
    if (bytes > t->bytes - c->written[i])
        return fail(e, EK_E_ARG, "%s: tensor %s: more bytes than it has", c->path, t->name);
    const uint64_t start = c->written[i] ? t->checksum : CHECKSUM_START;
    t->checksum          = checksum64(start, data, bytes);
    const ek_status bad  = write_at(c, data, bytes, c->data_at + t->begin + c->written[i], e);
    c->written[i] += bytes;
    return bad;
}

ek_status container_file(struct container *c, const char *name, const void *data, size_t bytes,
                         struct error *e)
{
    char            path[PATH_LIMIT];
    const ek_status bad = path_join(path, sizeof path, c->temporary, name, e);
    return bad ? bad : file_write(path, data, bytes, e);
}

/* Puts the finished directory where it belongs; the old one, if any, is gone only then. */
static ek_status put_in_place(struct container *c, struct error *e)
{
    const int fresh = !renameat2(AT_FDCWD, c->temporary, AT_FDCWD, c->path, RENAME_NOREPLACE);
    if (!fresh) {
        if (errno == EEXIST) {
            if (renameat2(AT_FDCWD, c->temporary, AT_FDCWD, c->path, RENAME_EXCHANGE))
                return io_error(c->path, e);
            remove_directory(c->temporary);
        } else if (rename(c->temporary, c->path)) { /* file systems without renameat2 */
            return io_error(c->path, e);
        }
    }
    c->made = 0;
    char parent[PATH_LIMIT];
    memcpy(parent, c->path, sizeof parent);
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = '\0';
    return sync_directory(slash ? parent : ".", e);
}

ek_status container_end(struct container *c, struct error *e)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->written[i] != c->tensors[i].bytes)
            return fail(e, EK_E_ARG, "%s: tensor %s: not complete", c->path, c->tensors[i].name);
    ek_status bad = write_header(c, e);
    if (!bad) bad = flush(c, e);
    if (!bad && fsync(c->fd)) bad = io_error(c->path, e);
    if (!bad) bad = sync_directory(c->temporary, e);
    return bad ? bad : put_in_place(c, e);
}

void container_close(struct container *c)
{
    if (!c) return;
    if (c->fd >= 0) close(c->fd);
    if (c->made) remove_directory(c->temporary);
    free(c->written);
    free(c->window);
    free(c);
}
