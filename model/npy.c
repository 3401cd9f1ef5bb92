/* SPDX-License-Identifier: Apache-2.0 */
/* model/npy.c - reads .npy: a magic, a version, a Python dictionary, the elements; writes lists of
 * ids. */
#include "model/npy.h"
#include "model/file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[6] = "\x93NUMPY"; /* its '\0' does not fit and does not belong */

/* What is left of the header, and which of the three keys have been seen. */
struct header {
    const char *at, *end;
    const char *path;
    int         has_descr, has_order, has_shape;
    size_t      element; /* bytes */
    int         whole;   /* integers */
};

/* ---- the dictionary ---------------------------------------------------------------------- */

static void skip_spaces(struct header *h)
{
    while (h->at < h->end && (*h->at == ' ' || *h->at == '\n' || *h->at == '\t')) h->at++;
}

/* Takes this text, after spaces, if it comes next. */
static int take(struct header *h, const char *text)
{
    const size_t length = strlen(text);
    skip_spaces(h);
    if ((size_t)(h->end - h->at) < length || memcmp(h->at, text, length) != 0) return 0;
    h->at += length;
    return 1;
}

static ek_status malformed(const struct header *h, const char *what, struct error *e)
{
    return fail(e, EK_E_FORMAT, "%s: npy header: %s", h->path, what);
}

static ek_status parse_descr(struct header *h, struct error *e)
{
    static const struct {
        const char *text;
        size_t      bytes;
        int         whole;
    } known[] = {{"'<f4'", 4, 0}, {"'<f8'", 8, 0}, {"'<i4'", 4, 1}, {"'<i8'", 8, 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (take(h, known[i].text)) {
            h->element = known[i].bytes, h->whole = known[i].whole;
            return EK_OK;
        }
    return fail(e, EK_E_UNSUPPORTED,
                "%s: npy header: elements are none of '<f4', '<f8', '<i4', '<i8'", h->path);
}

static ek_status parse_order(struct header *h, struct error *e)
{
    if (take(h, "False")) return EK_OK;
    if (take(h, "True")) return fail(e, EK_E_UNSUPPORTED, "%s: npy: Fortran order", h->path);
    return malformed(h, "fortran_order is neither True nor False", e);
}

/* One dimension: digits without a sign. */
static int take_size(struct header *h, size_t *value)
{
    skip_spaces(h);
    const char *begin = h->at;
    *value            = 0;
    for (; h->at < h->end && *h->at >= '0' && *h->at <= '9'; h->at++) {
        if (__builtin_mul_overflow(*value, 10, value)) return 0;
        if (__builtin_add_overflow(*value, (size_t)(*h->at - '0'), value)) return 0;
    }
    return h->at > begin;
}

static ek_status parse_shape(struct npy *a, struct header *h, struct error *e)
{
    if (!take(h, "(")) return malformed(h, "shape is no tuple", e);
    for (int comma = 1; !take(h, ")"); comma = take(h, ",")) {
        if (!comma) return malformed(h, "shape: a comma is missing", e);
        if (a->dims == NPY_DIMS)
            return fail(e, EK_E_UNSUPPORTED, "%s: npy: more than %d dimensions", h->path, NPY_DIMS);
        if (!take_size(h, &a->shape[a->dims++]))
            return malformed(h, "shape: a size is missing or too large", e);
    }
    return EK_OK;
}

static ek_status parse_entry(struct npy *a, struct header *h, struct error *e)
{
    int *seen = NULL;
    if (take(h, "'descr'"))
        seen = &h->has_descr;
    else if (take(h, "'fortran_order'"))
        seen = &h->has_order;
    else if (take(h, "'shape'"))
        seen = &h->has_shape;
    if (!seen || (*seen)++) return malformed(h, "a key is unknown or there twice", e);
    if (!take(h, ":")) return malformed(h, "a colon is missing", e);
    if (seen == &h->has_descr) return parse_descr(h, e);
    if (seen == &h->has_order) return parse_order(h, e);
    return parse_shape(a, h, e);
}

static ek_status parse_dictionary(struct npy *a, struct header *h, struct error *e)
{
    if (!take(h, "{")) return malformed(h, "no dictionary", e);
    for (int comma = 1; !take(h, "}"); comma = take(h, ",")) {
        if (!comma) return malformed(h, "a comma is missing", e);
        const ek_status s = parse_entry(a, h, e);
        if (s != EK_OK) return s;
    }
    skip_spaces(h);
    if (h->at != h->end) return malformed(h, "something follows the dictionary", e);
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return malformed(h, "descr, fortran_order or shape is missing", e);
    return EK_OK;
}

/* ---- the file ---------------------------------------------------------------------------- */

static size_t little(const unsigned char *p, size_t bytes)
{
    size_t value = 0;
    while (bytes--) value = value << 8 | p[bytes];
    return value;
}

/* Finds the dictionary and the elements behind it. */
static ek_status find_parts(struct header *h, const unsigned char *data, size_t bytes,
                            size_t *elements, struct error *e)
{
    if (bytes < 10 || memcmp(data, magic, sizeof magic) != 0)
        return fail(e, EK_E_FORMAT, "%s: not a npy file", h->path);
    const unsigned version = data[6];
    if (version < 1 || version > 3 || data[7] != 0)
        return fail(e, EK_E_UNSUPPORTED, "%s: npy version %u.%u", h->path, version, data[7]);
    const size_t width = version == 1 ? 2 : 4, begin = sizeof magic + 2 + width;
    if (bytes < begin || little(data + 8, width) > bytes - begin)
        return malformed(h, "ends past the file", e);
    *elements = begin + little(data + 8, width);
    h->at     = (const char *)data + begin;
    h->end    = (const char *)data + *elements;
    return EK_OK;
}

/* The product of the shape, which must be what the file has elements for. */
static ek_status count_elements(struct npy *a, const struct header *h, size_t bytes,
                                struct error *e)
{
    a->count = 1;
    for (size_t i = 0; i < a->dims; i++)
        if (__builtin_mul_overflow(a->count, a->shape[i], &a->count))
            return malformed(h, "shape is too large", e);
    if (bytes % h->element != 0 || a->count != bytes / h->element)
        return fail(e, EK_E_FORMAT, "%s: npy: %zu bytes of elements are not what its shape says",
                    h->path, bytes);
    return EK_OK;
}

static double element(const unsigned char *p, const struct header *h)
{
    union {
        uint32_t u;
        int32_t  i;
        float    f;
    } single = {0};
    union {
        uint64_t u;
        int64_t  i;
        double   f;
    } full = {0};
    for (size_t i = h->element; i-- > 0;) {
        single.u = single.u << 8 | p[i];
        full.u   = full.u << 8 | p[i];
    }
    if (h->whole) return h->element == 4 ? (double)single.i : (double)full.i;
    return h->element == 4 ? (double)single.f : full.f;
}

ek_status npy_parse(struct npy *a, const char *path, const void *data, size_t bytes,
                    struct error *e)
{
    struct header h      = {.path = path, .element = 4};
    struct npy    read   = {0};
    size_t        offset = 0;
    *a                   = read;
    ek_status s          = find_parts(&h, data, bytes, &offset, e);
    if (s == EK_OK) s = parse_dictionary(&read, &h, e);
    if (s == EK_OK) s = count_elements(&read, &h, bytes - offset, e);
    if (s != EK_OK) return s;
    /* count <= bytes / 4; one more, so that an empty array is no NULL. */
    if (read.count >= SIZE_MAX / sizeof(double)) return fail(e, EK_E_NOMEM, "%s: npy", path);
    read.data = malloc((read.count + 1) * sizeof(double));
    if (!read.data) return fail(e, EK_E_NOMEM, "%s: npy: %zu elements", path, read.count);
    const unsigned char *p = (const unsigned char *)data + offset;
    for (size_t i = 0; i < read.count; i++) read.data[i] = element(p + i * h.element, &h);
    read.whole = h.whole;
    *a         = read;
    return EK_OK;
}

ek_status npy_read(struct npy *a, const char *path, struct error *e)
{
    struct file f;
    *a          = (struct npy){0};
    ek_status s = file_map(&f, path, e);
    if (s != EK_OK) return s;
    s = f.bytes ? npy_parse(a, path, f.data, f.bytes, e)
                : fail(e, EK_E_FORMAT, "%s: not a npy file", path);
    file_unmap(&f);
    return s;
}

void npy_free(struct npy *a)
{
    free(a->data);
    *a = (struct npy){0};
}

ek_status npy_write_ids(const char *path, const uint32_t *ids, size_t count, struct error *e)
{
    enum { HEADER = 128, PREFIX = 10 }; /* elements begin at a multiple of 64, as NumPy's do */
    const size_t   bytes = HEADER + count * sizeof *ids;
    unsigned char *file  = malloc(bytes);
    char           text[HEADER - PREFIX + 1];
    if (!file) return fail(e, EK_E_NOMEM, "%s: npy: %zu elements", path, count);
    snprintf(text, sizeof text, "{'descr': '<i4', 'fortran_order': False, 'shape': (%zu,), }",
             count);
    memset(file, ' ', HEADER);
    memcpy(file, magic, sizeof magic);
    file[6] = 1, file[7] = 0, file[8] = HEADER - PREFIX, file[9] = 0;
    memcpy(file + PREFIX, text, strlen(text)); /* spaces and the line's end close it */
    file[HEADER - 1] = '\n';
    if (count) memcpy(file + HEADER, ids, count * sizeof *ids);
    const ek_status s = file_write(path, file, bytes, e);
    free(file);
    return s;
}
