/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_container.c - our own directories: what may be replaced, what an interrupted run
 * leaves, spoilt ones; and those of random weights. */
#include "model/container.h"

#include "model/synth.h"
#include "tests/model_pair.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what goes wrong ---- */

/* A weight that is none is named, whatever the type; nothing is left behind. */
Test(container, not_finite)
{
    static const uint32_t bad[]   = {0x7FC00000, 0x7F800000, 0xFF800000};
    static const int      types[] = {EK_FMT_f32, EK_FMT_bf16, EK_FMT_q8g32};
    for (size_t i = 0; i < 3; i++) {
        const struct config          c = tiny_config("llama", 1);
        const struct convert_options o = options(types[i]);
        struct pair                  p;
        pair_make(&p, &c);
        struct hf_model m = hf_make(&c);
        memcpy(m.data.data + 100, &bad[i], sizeof bad[i]);
        hf_write(&m, p.src, "model.safetensors");
        cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_E_FORMAT);
        cr_assert(strstr(p.e.text, "model.embed_tokens.weight") && strstr(p.e.text, "not finite"),
                  "%s", p.e.text);
        cr_assert(access(p.dst, F_OK) != 0);
        hf_free(&m);
        pair_drop(&p);
    }
}

/* A directory that is not ours stays unless forced; one of ours is replaced; a file never. */
Test(container, targets)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    struct stat            st;
    char                   path[128];
    pair_make(&p, &c);
    cr_assert_eq(mkdir(p.dst, 0755), 0);
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_OK, "%s", p.e.text); /* an empty one */
    o.type = EK_FMT_q4g32;
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_OK, "%s", p.e.text);
    snprintf(path, sizeof path, "%s/other", p.dir);
    cr_assert_eq(mkdir(path, 0755), 0);
    text_write("notes", path, "notes.txt");
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(strstr(p.e.text, "--force"), "%s", p.e.text);
    o.force = 1;
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(source_open(&p.to, path, &p.e), EK_OK, "%s", p.e.text);
    snprintf(path, sizeof path, "%s/model.safetensors", p.dst);
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(strstr(p.e.text, "no directory"), "%s", p.e.text);
    snprintf(path, sizeof path, "%s/no/where", p.dir);
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(!stat(p.dst, &st) && (st.st_mode & 0777) == 0755);
    pair_drop(&p);
}

/* Killed at any moment, the old output is there, whole, or the new one. */
static void die(void *self, const char *what, uint64_t done, uint64_t total)
{
    (void)what, (void)total;
    if (done >= *(const uint64_t *)self) raise(SIGKILL);
}

Test(container, killed)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    const uint64_t before = found(p.to, "model.embed_tokens.weight")->checksum;
    for (uint64_t at = 0; at < 100000; at += 4000) {
        int         status;
        const pid_t child = fork();
        if (!child) {
            o.type = EK_FMT_f32, o.progress = die, o.progress_self = &at;
            convert(p.src, p.dst, &o, &p.e);
            _exit(0);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) break;
        struct source *s;
        cr_assert_eq(source_open(&s, p.dst, &p.e), EK_OK, "%s", p.e.text);
        cr_assert_eq(found(s, "model.embed_tokens.weight")->checksum, before);
        source_close(s);
        cr_assert(at < 90000, "not one run went through");
    }
    pair_drop(&p);
}

/* ---- our own directories, spoilt ---- */

/* model.safetensors of the conversion. */
static struct bytes container_bytes(const struct pair *p)
{
    char          path[128];
    struct bytes  b = {.n = 0};
    unsigned char block[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", p->dst);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f));) bytes_add(&b, block, n);
    fclose(f);
    cr_assert(b.data && b.n > 8);
    return b;
}

static void spoil(const struct pair *p, const char *from, const char *to, ek_status status,
                  const char *says)
{
    struct bytes   b = container_bytes(p), kept = container_bytes(p);
    struct source *s;
    struct error   e  = {""};
    unsigned char *at = memmem(b.data, b.n, from, strlen(from));
    cr_assert(at && strlen(from) == strlen(to), "%s", from);
    for (size_t i = 0; to[i]; i++) at[i] = (unsigned char)to[i];
    bytes_write(&b, p->dst, "model.safetensors");
    cr_expect_eq(source_open(&s, p->dst, &e), status, "%s", e.text);
    cr_expect(strstr(e.text, says), "%s, not %s", e.text, says);
    bytes_write(&kept, p->dst, "model.safetensors");
    bytes_free(&b);
    bytes_free(&kept);
}

Test(container, spoilt_container)
{
    const struct config          c = tiny_config("llama", 1);
    const struct convert_options o = options(EK_FMT_q8g32);
    struct pair                  p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    spoil(&p, "format=q8g32", "format=q9g32", EK_E_FORMAT, "not understood");
    spoil(&p, "format=q8g32", "format=q4g32", EK_E_FORMAT, "shape and its bytes");
    spoil(&p, "rows=64", "rows=99", EK_E_FORMAT, "shape and its bytes");
    spoil(&p, "rows=64", "rows= 4", EK_E_FORMAT, "not understood");
    spoil(&p, "columns=32", "columns=-2", EK_E_FORMAT, "not understood");
    spoil(&p, "layout=2", "layout=1", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "version=1", "version=2", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "checksum=", "checksun=", EK_E_FORMAT, "no checksum");
    spoil(&p, "\"edgekern\":\"1\"", "\"edgekern\":\"2\"", EK_E_UNSUPPORTED, "later version");
    spoil(&p, "\"dtype\":\"U8\"", "\"dtype\":\"I8\"", EK_E_UNSUPPORTED, "type I8");
    spoil(&p, "edgekern", "edgekorn", EK_E_UNSUPPORTED, "type U8");
    pair_drop(&p);
}

Test(container, spoilt_neurons)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    pair_make(&p, &c);
    o.neurons = 1;
    pair_convert(&p, &o);
    spoil(&p, "parts=2", "parts=3", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "parts=2", "parts=x", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "layout=4", "layout=2", EK_E_FORMAT, "shape and its bytes");
    spoil(&p, "rows=48 columns=32 parts", "rows=49 columns=32 parts", EK_E_FORMAT,
          "shape and its bytes");
    spoil(&p, "mlp.neurons", "mlp.neurens", EK_E_FORMAT, "no checksum");
    pair_drop(&p);
}

/* A file whose data does not start on 64 bytes. */
Test(container, misaligned_container)
{
    const struct config          c = tiny_config("llama", 1);
    const struct convert_options o = options(EK_FMT_q8g32);
    struct pair                  p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    struct bytes b = container_bytes(&p), shifted = {.n = 0};
    uint64_t     header;
    memcpy(&header, b.data, 8);
    const uint64_t longer = header + 8;
    bytes_add(&shifted, &longer, 8);
    bytes_add(&shifted, b.data + 8, header);
    bytes_add(&shifted, "        ", 8);
    bytes_add(&shifted, b.data + 8 + header, b.n - 8 - header);
    bytes_write(&shifted, p.dst, "model.safetensors");
    struct source *s;
    cr_assert_eq(source_open(&s, p.dst, &p.e), EK_E_FORMAT);
    cr_assert(strstr(p.e.text, "misaligned"), "%s", p.e.text);
    bytes_free(&b);
    bytes_free(&shifted);
    pair_drop(&p);
}

/* ---- random models ---- */

/* Weights of about N(0, 0.02) in every format, the same for a seed, and other for another. */
Test(synth, weights)
{
    for (int type = EK_FMT_f32; type <= EK_FMT_q4k; type++) {
        struct config c = tiny_config("qwen3", 1);
        c.vocab = 500, c.hidden = 256;
        const struct convert_options o = options(type);
        struct source               *s[3];
        struct error                 e = {""};
        char                         dir[64], path[80];
        directory_make(dir);
        for (int i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "%s/%d", dir, i);
            cr_assert_eq(synth_write(&c, i < 2 ? 1 : 2, path, &o, &e), EK_OK, "%s", e.text);
            cr_assert_eq(source_open(&s[i], path, &e), EK_OK, "%s", e.text);
        }
        const struct tensor *t = found(s[0], "model.embed_tokens.weight");
        cr_assert_eq(t->checksum, found(s[1], t->name)->checksum);
        cr_assert_neq(t->checksum, found(s[2], t->name)->checksum);
        float *x   = floats(t);
        double sum = 0, square = 0;
        for (size_t i = 0; i < t->n * t->k; i++) {
            sum += (double)x[i], square += (double)x[i] * (double)x[i];
        }
        const double count = (double)t->n * (double)t->k;
        cr_assert(fabs(sum / count) < 0.004, "%d: mean %g", type, sum / count);
        const double deviation = sqrt(square / count);
        cr_assert(deviation > 0.014 && deviation < 0.032, "%d: %g", type, deviation);
        free(x);
        x = floats(found(s[0], "model.norm.weight"));
        cr_assert_eq(x[17], 1);
        free(x);
        for (int i = 0; i < 3; i++) source_close(s[i]);
        directory_remove(dir);
    }
}

Test(synth, presets)
{
    struct config c;
    struct error  e = {""};
    size_t        n = 0;
    for (; synth_preset(n); n++) {
        cr_assert_eq(synth_config(synth_preset(n), &c, &e), EK_OK);
        cr_assert_eq(config_check(&c, synth_preset(n), &e), EK_OK, "%s", e.text);
    }
    cr_assert_eq(n, 10);
    cr_assert_eq(synth_config("llama-9", &c, &e), EK_E_ARG);
    cr_assert(strstr(e.text, "llama-3.2-1b") && strstr(e.text, "qwen3-4b"), "%s", e.text);
}
