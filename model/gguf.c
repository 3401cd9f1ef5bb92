/* SPDX-License-Identifier: Apache-2.0 */
/* model/gguf.c - parses GGUF: header, metadata, tensor table. Nothing is copied. */
#include "model/gguf.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEY_MAX       = 65535,
    NAME_LIMIT    = 64 * 1024,
    ALIGNMENT_MAX = 1 << 20,
    LENGTH_BYTES  = 8,              /* of the length before a string          */
    VALUE_MIN     = 8 + 4 + 1,      /* bytes: an empty key, a type, one bool  */
    TENSOR_MIN    = 8 + 4 + 8 + 12, /* bytes: name, dims, one dim, type, offset */
};

static const unsigned char sizes[GGUF_TYPES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};

size_t gguf_type_bytes(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPES ? sizes[t] : 0;
}

/* ---- reading ---- */

struct reader {
    const unsigned char *at, *end;
    const char          *path;
    struct error        *e;
};

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static ek_status truncated(const struct reader *r, const char *what)
{
    return fail(r->e, EK_E_FORMAT, "%s: %s: ends past the file", r->path, what);
}

static ek_status take(struct reader *r, void *out, size_t bytes, const char *what)
{
    if (left(r) < bytes) return truncated(r, what);
    memcpy(out, r->at, bytes);
    r->at += bytes;
    return EK_OK;
}

static ek_status take_string(struct reader *r, struct gguf_string *s, size_t limit,
                             const char *what)
{
    uint64_t        n   = 0;
    const ek_status bad = take(r, &n, sizeof n, what);
    if (bad) return bad;
    if (n > left(r)) return truncated(r, what);
    if (n > limit) return fail(r->e, EK_E_FORMAT, "%s: %s: too long", r->path, what);
    *s = (struct gguf_string){(const char *)r->at, (size_t)n};
    r->at += n;
    return EK_OK;
}

static ek_status take_type(struct reader *r, enum gguf_type *t, const char *key)
{
    uint32_t        n   = 0;
    const ek_status bad = take(r, &n, sizeof n, key);
    if (bad) return bad;
    if (n >= GGUF_TYPES)
        return fail(r->e, EK_E_FORMAT, "%s: %s: unknown value type %u", r->path, key, (unsigned)n);
    *t = (enum gguf_type)n;
    return EK_OK;
}

/* Steps over count elements of one type, strings one by one. */
static ek_status skip(struct reader *r, enum gguf_type t, uint64_t count, const char *key)
{
    if (t != GGUF_STRING) {
        if (count > left(r) / sizes[t]) return truncated(r, key);
        r->at += count * sizes[t];
        return EK_OK;
    }
    if (count > left(r) / LENGTH_BYTES) return truncated(r, key);
    ek_status bad = EK_OK;
    for (uint64_t i = 0; i < count && !bad; i++) {
        struct gguf_string s;
        bad = take_string(r, &s, SIZE_MAX, key);
    }
    return bad;
}

/* A name from the file as C text for messages. */
static const char *shown(struct gguf_string s, char out[128])
{
    const size_t n = s.bytes < 127 ? s.bytes : 127;
    if (s.data) memcpy(out, s.data, n);
    out[n] = '\0';
    return out;
}

static ek_status take_value(struct reader *r, struct gguf_value *v)
{
    char      text[128];
    ek_status bad = take_string(r, &v->key, KEY_MAX, "metadata key");
    if (bad) return bad;
    const char *key = shown(v->key, text);
    if ((bad = take_type(r, &v->type, key))) return bad;
    v->element = v->type, v->count = 1;
    if (v->type == GGUF_ARRAY) {
        if ((bad = take_type(r, &v->element, key))) return bad;
        if (v->element == GGUF_ARRAY)
            return fail(r->e, EK_E_UNSUPPORTED, "%s: %s: array of arrays", r->path, key);
        if ((bad = take(r, &v->count, sizeof v->count, key))) return bad;
    }
    v->data = r->at;
    return skip(r, v->element, v->count, key);
}

static ek_status take_tensor(struct reader *r, struct gguf_tensor *t)
{
    char      text[128];
    ek_status bad = take_string(r, &t->name, NAME_LIMIT, "tensor name");
    if (bad) return bad;
    const char *name = shown(t->name, text);
    uint32_t    dims = 0;
    if ((bad = take(r, &dims, sizeof dims, name))) return bad;
    if (dims < 1 || dims > 4)
        return fail(r->e, EK_E_FORMAT, "%s: tensor %s: %u dimensions", r->path, name,
                    (unsigned)dims);
    t->dims        = dims;
    uint64_t total = 1;
    for (unsigned i = 0; i < 4; i++) {
        t->ne[i] = 1;
        if (i < dims && (bad = take(r, &t->ne[i], sizeof t->ne[i], name))) return bad;
        if (!t->ne[i] || __builtin_mul_overflow(total, t->ne[i], &total) || total > INT64_MAX)
            return fail(r->e, EK_E_FORMAT, "%s: tensor %s: impossible size", r->path, name);
    }
    if ((bad = take(r, &t->type, sizeof t->type, name))) return bad;
    return take(r, &t->offset, sizeof t->offset, name);
}

/* ---- the whole ---- */

static int compare_strings(const void *a, const void *b)
{
    const struct gguf_string *x = a, *y = b;
    const size_t              n = x->bytes < y->bytes ? x->bytes : y->bytes;
    const int                 c = n ? memcmp(x->data, y->data, n) : 0;
    return c ? c : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Names must be unique: two tensors of one name are one too many. */
static ek_status check_unique(struct gguf_string *names, size_t n, const char *what,
                              const struct reader *r)
{
    char text[128];
    if (n) qsort(names, n, sizeof *names, compare_strings);
    for (size_t i = 1; i < n; i++)
        if (!compare_strings(&names[i - 1], &names[i]))
            return fail(r->e, EK_E_FORMAT, "%s: %s %s: there twice", r->path, what,
                        shown(names[i], text));
    return EK_OK;
}

static ek_status check_names(const struct gguf *g, const struct reader *r)
{
    const size_t        most  = g->value_count > g->tensor_count ? g->value_count : g->tensor_count;
    struct gguf_string *names = calloc(most + 1, sizeof *names);
    if (!names) return fail(r->e, EK_E_NOMEM, "%s: out of memory", r->path);
    for (size_t i = 0; i < g->value_count; i++) names[i] = g->values[i].key;
    ek_status bad = check_unique(names, g->value_count, "key", r);
    for (size_t i = 0; i < g->tensor_count; i++) names[i] = g->tensors[i].name;
    if (!bad) bad = check_unique(names, g->tensor_count, "tensor", r);
    free(names);
    return bad;
}

static ek_status take_header(struct reader *r, uint64_t *tensors, uint64_t *values)
{
    char      magic[4];
    uint32_t  version = 0;
    ek_status bad     = take(r, magic, sizeof magic, "header");
    if (!bad && memcmp(magic, "GGUF", sizeof magic) != 0)
        return fail(r->e, EK_E_FORMAT, "%s: not a GGUF file", r->path);
    if (!bad) bad = take(r, &version, sizeof version, "header");
    if (bad) return bad;
    if (version == __builtin_bswap32(2) || version == __builtin_bswap32(3))
        return fail(r->e, EK_E_UNSUPPORTED, "%s: big-endian GGUF", r->path);
    if (version != 2 && version != 3)
        return fail(r->e, EK_E_UNSUPPORTED, "%s: GGUF version %u; 2 and 3 are read", r->path,
                    (unsigned)version);
    if ((bad = take(r, tensors, sizeof *tensors, "header"))) return bad;
    if ((bad = take(r, values, sizeof *values, "header"))) return bad;
    if (*values > left(r) / VALUE_MIN || *tensors > left(r) / TENSOR_MIN)
        return fail(r->e, EK_E_FORMAT, "%s: header: counts more than the file can hold", r->path);
    return EK_OK;
}

static ek_status take_tables(struct gguf *g, struct reader *r)
{
    uint64_t  tensors = 0, values = 0;
    ek_status bad = take_header(r, &tensors, &values);
    if (bad) return bad;
    g->values  = calloc(values + 1, sizeof *g->values);
    g->tensors = calloc(tensors + 1, sizeof *g->tensors);
    if (!g->values || !g->tensors) return fail(r->e, EK_E_NOMEM, "%s: out of memory", r->path);
    for (; g->value_count < values; g->value_count++)
        if ((bad = take_value(r, &g->values[g->value_count]))) return bad;
    for (; g->tensor_count < tensors; g->tensor_count++)
        if ((bad = take_tensor(r, &g->tensors[g->tensor_count]))) return bad;
    return check_names(g, r);
}

static ek_status place_data(struct gguf *g, const struct reader *r, const unsigned char *start,
                            size_t bytes)
{
    g->alignment = 32;
    if (gguf_find(g, "general.alignment") && !gguf_uint(g, "general.alignment", &g->alignment))
        return fail(r->e, EK_E_FORMAT, "%s: general.alignment: not a number", r->path);
    if (g->alignment < 8 || g->alignment > ALIGNMENT_MAX || g->alignment & (g->alignment - 1))
        return fail(r->e, EK_E_FORMAT, "%s: general.alignment: not a power of two from 8 on",
                    r->path);
    const size_t header = (size_t)(r->at - start);
    const size_t at     = (header + g->alignment - 1) & ~(g->alignment - 1);
    g->data             = start + (at < bytes ? at : bytes);
    g->data_bytes       = at < bytes ? bytes - at : 0;
    return EK_OK;
}

ek_status gguf_parse(struct gguf *g, const void *data, size_t bytes, const char *path,
                     struct error *e)
{
    const unsigned char *start = data;
    struct reader        r     = {start, start + bytes, path, e};
    *g                         = (struct gguf){.values = NULL};
    ek_status bad              = bytes ? take_tables(g, &r) : truncated(&r, "header");
    if (!bad) bad = place_data(g, &r, start, bytes);
    if (bad) gguf_release(g);
    return bad;
}

void gguf_release(struct gguf *g)
{
    free(g->values);
    free(g->tensors);
    *g = (struct gguf){.values = NULL};
}

ek_status gguf_open(struct gguf **g, const char *path, struct error *e)
{
    struct file  f;
    struct gguf *made = malloc(sizeof *made);
    if (!made) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    ek_status bad = file_map(&f, path, e);
    if (!bad) {
        bad = gguf_parse(made, f.data, f.bytes, path, e);
        if (bad) file_unmap(&f);
    }
    if (bad) {
        free(made);
        return bad;
    }
    made->file = f;
    *g         = made;
    return EK_OK;
}

void gguf_close(struct gguf *g)
{
    if (!g) return;
    file_unmap(&g->file);
    gguf_release(g);
    free(g);
}

/* ---- looking up ---- */

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].key.bytes == n && !memcmp(g->values[i].key.data, key, n))
            return &g->values[i];
    return NULL;
}

/* A scalar integer: its value, and whether it is negative (then value is its two's complement). */
static int integer(const struct gguf_value *v, uint64_t *value, int *negative)
{
    *value = 0, *negative = 0;
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64: memcpy(value, v->data, sizes[v->type]); return 1;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: break;
    default: return 0;
    }
    memcpy(value, v->data, sizes[v->type]);
    const unsigned unused = 64 - 8u * sizes[v->type];
    *negative             = (int)(*value >> (63 - unused));
    if (*negative && unused) *value |= UINT64_MAX << (64 - unused);
    return 1;
}

int gguf_uint(const struct gguf *g, const char *key, uint64_t *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    uint64_t                 value;
    int                      negative;
    if (!v || !integer(v, &value, &negative) || negative) return 0;
    *out = value;
    return 1;
}

int gguf_float(const struct gguf *g, const char *key, double *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    uint64_t                 value;
    int                      negative;
    if (!v) return 0;
    if (v->type == GGUF_F64) {
        memcpy(out, v->data, sizeof *out);
    } else if (v->type == GGUF_F32) {
        float f;
        memcpy(&f, v->data, sizeof f);
        *out = (double)f;
    } else {
        if (!integer(v, &value, &negative)) return 0;
        *out = negative ? (double)(int64_t)value : (double)value;
    }
    return 1;
}

int gguf_text(const struct gguf *g, const char *key, struct gguf_string *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    if (!v || v->type != GGUF_STRING) return 0;
    const unsigned char *at = v->data;
    *out                    = gguf_next_string(&at);
    return 1;
}

struct gguf_string gguf_next_string(const unsigned char **cursor)
{
    uint64_t n;
    memcpy(&n, *cursor, sizeof n);
    const struct gguf_string s = {(const char *)*cursor + LENGTH_BYTES, (size_t)n};
    *cursor += LENGTH_BYTES + n;
    return s;
}
