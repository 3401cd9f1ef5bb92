/* SPDX-License-Identifier: Apache-2.0 */
/* model/source.c - opens models of every kind; what their readers share. */
#include "model/source.h"

#include "model/ggml_blocks.h"
#include "model/gguf.h"
#include "model/source_inner.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static ek_status out_of_memory(const struct source *s, struct error *e)
{
    return fail(e, EK_E_NOMEM, "%s: out of memory", s->path);
}

void *source_alloc(struct source *s, size_t bytes)
{
    struct source_own *own  = s->own;
    void             **more = realloc(own->blocks, (own->block_count + 1) * sizeof *more);
    if (!more) return NULL;
    own->blocks = more;
    void *p     = malloc(bytes);
    if (p) own->blocks[own->block_count++] = p;
    return p;
}

ek_status source_map(struct source *s, const char *path, struct file *f, struct error *e)
{
    struct source_own *own  = s->own;
    struct file       *more = realloc(own->files, (own->file_count + 1) * sizeof *more);
    if (!more) return out_of_memory(s, e);
    own->files          = more;
    const ek_status bad = file_map(f, path, e);
    if (bad) return bad;
    own->files[own->file_count++] = *f;
    s->bytes += f->bytes;
    return EK_OK;
}

ek_status source_add(struct source *s, const struct tensor *t, struct error *e)
{
    struct source_own *own = s->own;
    if (s->count == own->tensor_room) {
        const size_t   room = own->tensor_room ? own->tensor_room * 2 : 64;
        struct tensor *more = realloc(s->tensors, room * sizeof *more);
        if (!more) return out_of_memory(s, e);
        s->tensors = more, own->tensor_room = room;
    }
    struct tensor copy   = *t;
    const size_t  length = strlen(t->name) + 1;
    char         *name   = source_alloc(s, length);
    if (!name) return out_of_memory(s, e);
    copy.name            = memcpy(name, t->name, length);
    const size_t element = t->type <= TENSOR_BF16 ? ggml_block_bytes(t->type) : 1;
    if ((uintptr_t)t->data % element) {
        void *data = source_alloc(s, t->bytes);
        if (!data) return out_of_memory(s, e);
        copy.data = memcpy(data, t->data, t->bytes);
    }
    s->tensors[s->count++] = copy;
    return EK_OK;
}

static ek_status read_file(struct source *s, struct error *e)
{
    char            magic[4] = {0};
    struct file     f;
    const ek_status bad = file_map(&f, s->path, e);
    if (bad) return bad;
    if (f.bytes >= sizeof magic) memcpy(magic, f.data, sizeof magic);
    file_unmap(&f);
    s->kind = !memcmp(magic, "GGUF", sizeof magic) ? SOURCE_GGUF : SOURCE_LLAMA2C;
    return s->kind == SOURCE_GGUF ? source_read_gguf(s, e) : source_read_llama2c(s, e);
}

static ek_status read_any(struct source *s, struct error *e)
{
    struct stat st;
    if (stat(s->path, &st)) return fail(e, EK_E_IO, "%s: %s", s->path, strerror(errno));
    const ek_status bad = S_ISDIR(st.st_mode) ? source_read_directory(s, e) : read_file(s, e);
    return bad ? bad : source_check(s, e);
}

struct source *source_make(const char *path)
{
    struct source *s = calloc(1, sizeof *s);
    if (s) s->own = calloc(1, sizeof(struct source_own));
    if (s) s->path = strdup(path);
    if (s && s->own && s->path) return s;
    source_close(s);
    return NULL;
}

ek_status source_open(struct source **s, const char *path, struct error *e)
{
    struct source  *made = source_make(path);
    const ek_status bad = made ? read_any(made, e) : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (bad)
        source_close(made);
    else
        *s = made;
    return bad;
}

void source_close(struct source *s)
{
    if (!s) return;
    struct source_own *own = s->own;
    if (own) {
        for (size_t i = 0; i < own->file_count; i++) file_unmap(&own->files[i]);
        for (size_t i = 0; i < own->block_count; i++) free(own->blocks[i]);
        free(own->files);
        free(own->blocks);
        free(own);
    }
    gguf_close(s->gguf);
    free(s->tensors);
    free(s->path);
    free(s);
}

static int by_name(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

const struct tensor *source_find(const struct source *s, const char *name)
{
    const struct tensor key = {.name = name};
    return s->count ? bsearch(&key, s->tensors, s->count, sizeof key, by_name) : NULL;
}
