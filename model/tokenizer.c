/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer.c - opens a tokenizer by what its files are, and answers for its vocabulary. */
#include "model/tokenizer.h"

#include "model/gguf.h"
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- one file ---- */

/* Has data the form of llama2.c's tokenizer: a small number, then tokens? A protobuf that begins
 * with a piece has its length second, which is not 0. */
static int is_llama2c(const unsigned char *data, size_t bytes)
{
    uint32_t longest;
    if (bytes < 12) return 0;
    memcpy(&longest, data, sizeof longest);
    return longest && longest <= TOKEN_MAX;
}

/* Base64 and a number on the first line. */
static int is_tiktoken(const unsigned char *data, size_t bytes)
{
    const unsigned char *end   = memchr(data, '\n', bytes);
    const unsigned char *space = end ? memchr(data, ' ', (size_t)(end - data)) : NULL;
    if (!space || space == data || space + 1 == end) return 0;
    for (const unsigned char *p = data; p < space; p++)
        if (*p <= ' ' || *p >= 0x7F) return 0;
    for (const unsigned char *p = space + 1; p < end; p++)
        if ((*p < '0' || *p > '9') && *p != '\r') return 0;
    return 1;
}

static void dir_of(const char *path, char *out, size_t size)
{
    const char  *slash = strrchr(path, '/');
    const size_t n     = slash ? (size_t)(slash - path) : 0;
    if (!slash || n >= size) {
        memcpy(out, ".", 2);
        return;
    }
    memcpy(out, path, n);
    out[n] = '\0';
    if (!n) memcpy(out, "/", 2);
}

/* vocab.json: its merges are a file of their own, by one of two names. */
static ek_status read_vocab_dir(struct tokenizer *t, const char *dir, const struct file *vocab,
                                struct error *e)
{
    static const char *const names[] = {"merges.txt", "vocab.bpe"};
    char                     path[4096];
    struct file              merges = {NULL, 0};
    ek_status                s      = EK_E_IO;
    for (size_t i = 0; s && i < 2; i++) {
        s = path_join(path, sizeof path, dir, names[i], e);
        if (s) return s;
        s = file_exists(path) ? file_map(&merges, path, e)
                              : fail(e, EK_E_IO, "%s: no merges.txt beside it", t->path);
    }
    if (s) return s;
    char *class = config_class(dir);
    s = read_vocab_json(t, (const char *)vocab->data, vocab->bytes, (const char *)merges.data,
                        merges.bytes, class, e);
    free(class);
    file_unmap(&merges);
    return s;
}

static size_t skip_space(const struct file *f, size_t i)
{
    while (i < f->bytes && (f->data[i] == ' ' || (f->data[i] >= '\t' && f->data[i] <= '\r'))) i++;
    return i;
}

/* Both begin with '{'; a vocabulary may have a token "model" too, but its value is a number. */
static int is_vocab_json(const struct file *f)
{
    static const char name[] = "\"model\"";
    const size_t      n      = sizeof name - 1;
    for (size_t i = 0; i < f->bytes;) {
        const unsigned char *hit = memmem(f->data + i, f->bytes - i, name, n);
        if (!hit) break;
        i        = (size_t)(hit - f->data) + n;
        size_t p = skip_space(f, i);
        if (p == f->bytes || f->data[p] != ':') continue;
        p = skip_space(f, p + 1);
        if (p < f->bytes && f->data[p] == '{') return 0;
    }
    return 1;
}

static ek_status read_json(struct tokenizer *t, const char *dir, struct file *f, struct error *e)
{
    if (is_vocab_json(f)) return read_vocab_dir(t, dir, f, e);
    const ek_status s = read_tokenizer_json(t, (const char *)f->data, f->bytes, e);
    if (s) return s;
    t->json = *f; /* kept for writing; its pages are not */
    *f      = (struct file){NULL, 0};
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): madvise takes no const */
    madvise((void *)(uintptr_t)t->json.data, t->json.bytes, MADV_DONTNEED);
    return EK_OK;
}

static ek_status read_file(struct tokenizer *t, const char *dir, struct file *f, struct error *e)
{
    const size_t i = skip_space(f, 0);
    if (f->bytes > FILE_LIMIT)
        return fail(e, EK_E_FORMAT, "%s: %zu bytes: no tokenizer is that large", t->path, f->bytes);
    if (i < f->bytes && f->data[i] == '{') return read_json(t, dir, f, e);
    if (f->bytes && is_tiktoken(f->data, f->bytes))
        return read_tiktoken(t, (const char *)f->data, f->bytes, e);
    if (is_llama2c(f->data, f->bytes)) return read_llama2c(t, f->data, f->bytes, e);
    if (f->bytes && f->data[0] == 0x0A) return read_sentencepiece(t, f->data, f->bytes, e);
    return fail(e, EK_E_FORMAT, "%s: not a tokenizer", t->path);
}

static ek_status finish(struct tokenizer **out, struct tokenizer *t, ek_status s, struct error *e)
{
    if (!s) s = tokenizer_finish(t, e);
    if (s)
        tokenizer_close(t);
    else
        *out = t;
    return s;
}

static ek_status open_gguf(struct tokenizer **out, const char *path, struct error *e)
{
    struct gguf *g;
    ek_status    s = gguf_open(&g, path, e);
    if (s) return s;
    s = tokenizer_from_gguf(out, g, path, e);
    gguf_close(g);
    return s;
}

static ek_status open_file(struct tokenizer **out, const char *path, struct error *e)
{
    char        dir[4096];
    struct file f;
    ek_status   s = file_map(&f, path, e);
    if (s) return s;
    if (f.bytes >= 4 && !memcmp(f.data, "GGUF", 4)) {
        file_unmap(&f);
        return open_gguf(out, path, e);
    }
    struct tokenizer *t = tokenizer_new(path);
    dir_of(path, dir, sizeof dir);
    s = t ? read_file(t, dir, &f, e) : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    file_unmap(&f);
    if (t && !s) s = read_config(t, dir, e);
    return t ? finish(out, t, s, e) : s;
}

ek_status tokenizer_open(struct tokenizer **t, const char *path, struct error *e)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "encoder.json",
                                        "tokenizer.model", "tokenizer.bin"};
    struct stat              st;
    char                     file[4096];
    if (!t || !path) return fail(e, EK_E_ARG, "tokenizer_open: bad argument");
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) return open_file(t, path, e);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const ek_status s = path_join(file, sizeof file, path, names[i], e);
        if (s) return s;
        if (file_exists(file)) return open_file(t, file, e);
    }
    return fail(e, EK_E_IO, "%s: no tokenizer.json, vocab.json or tokenizer.model", path);
}

ek_status tokenizer_from_gguf(struct tokenizer **out, const struct gguf *g, const char *path,
                              struct error *e)
{
    struct tokenizer *t = tokenizer_new(path);
    return t ? finish(out, t, read_gguf(t, g, e), e)
             : fail(e, EK_E_NOMEM, "%s: out of memory", path);
}

/* ---- answers ---- */

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->size;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *token)
{
    return vocab_find(t, token, strlen(token));
}

static const struct token *known(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size && t->tokens[id].flags & TOKEN_SET ? &t->tokens[id]
                                                                              : NULL;
}

const char *tokenizer_text(const struct tokenizer *t, int32_t id, size_t *bytes)
{
    const struct token *k = known(t, id);
    if (bytes) *bytes = k ? k->bytes : 0;
    return k ? t->text.data + k->at : NULL;
}

int tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    const struct token *k = known(t, id);
    return k && k->flags & TOKEN_SPECIAL;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

const char *tokenizer_chat_template(const struct tokenizer *t)
{
    return t->chat_template;
}
