/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check_rejects.c - the check must reject every kernel of tests/broken_*.c, and accept a sound
 * one. */
#include "tests/broken.h"
#include "tests/check.h"

struct ek_kernels sound;

static const struct ek_kernel *reference_of(enum ek_op op, enum ek_fmt fmt)
{
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (k->op == op && k->fmt == fmt && !k->needs) return k;
    }
    return NULL;
}

int main(void)
{
    static const struct broken_kernels *const families[] = {&broken_linear, &broken_vector,
                                                            &broken_attention, &broken_lists};
    int                                       rejected = 0, accepted = 0;
    if (ek_kernels_default(&sound) || ek_kernels_select(sound.cpu & ~(uint64_t)EK_CPU_amx, &sound))
        return 2; /* the broken rows take the common tiles */
    check_init();
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (size_t i = 0; i < families[f]->count; i++) {
            const struct ek_kernel *k   = &families[f]->kernels[i];
            const int               bad = check_kernel(reference_of(k->op, k->fmt), k, 0, stdout);
            printf("%s %s\n", bad ? "rejected" : "ACCEPTED", k->name);
            rejected += bad != 0, accepted += !bad;
        }
    const struct ek_kernel *best = sound.gemv_i8[EK_FMT_q4g32];
    const int sane = !check_kernel(reference_of(best->op, best->fmt), best, 0, stdout);
    printf("%d broken kernels rejected, %d accepted; the sound one is %s\n", rejected, accepted,
           sane ? "accepted" : "REJECTED");
    return accepted || !sane;
}
