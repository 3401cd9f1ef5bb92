/* SPDX-License-Identifier: Apache-2.0 */
/* ops/bits.c - masks as sets: lists, unions, differences. */
#include "ops/bits.h"

#include "ek/mask.h"

#include <string.h>

size_t ek_mask_words(size_t n)
{
    return n / 64 + (n % 64 != 0);
}

size_t ek_mask_count(const uint64_t *mask, size_t n)
{
    size_t count = 0;
    for (size_t w = 0; w < ek_mask_words(n); w++) count += ek_bits_count(mask[w]);
    return count;
}

static int size_sound(size_t n)
{
    return n && n <= UINT32_MAX;
}

ek_status ek_mask_set(uint64_t *mask, size_t n, const uint32_t *list, size_t count)
{
    if (!mask || !size_sound(n) || (count && !list)) return EK_E_ARG;
    for (size_t i = 0; i < count; i++)
        if (list[i] >= n) return EK_E_ARG;
    memset(mask, 0, ek_mask_words(n) * sizeof *mask);
    for (size_t i = 0; i < count; i++) mask[list[i] / 64] |= UINT64_C(1) << list[i] % 64;
    return EK_OK;
}

ek_status ek_mask_list(const uint64_t *mask, size_t n, uint32_t *list, size_t room, size_t *count)
{
    if (!mask || !size_sound(n) || !count || (room && !list) || !ek_bits_sound(mask, n))
        return EK_E_ARG;
    if (ek_mask_count(mask, n) > room) return EK_E_NOMEM;
    size_t have = 0;
    for (size_t w = 0; w < ek_mask_words(n); w++) have += ek_bits_list(mask[w], w, list + have);
    *count = have;
    return EK_OK;
}

ek_status ek_mask_union(const uint64_t *masks, size_t m, size_t n, uint64_t *out)
{
    const size_t words = ek_mask_words(n);
    size_t       all;
    if (!masks || !m || !size_sound(n) || !out) return EK_E_ARG;
    if (__builtin_mul_overflow(m, words * sizeof *masks, &all)) return EK_E_OVERFLOW;
    for (size_t r = 0; r < m; r++)
        if (!ek_bits_sound(masks + r * words, n)) return EK_E_ARG;
    for (size_t w = 0; w < words; w++) { /* a word is read from every row before out has it */
        uint64_t any = 0;
        for (size_t r = 0; r < m; r++) any |= masks[r * words + w];
        out[w] = any;
    }
    return EK_OK;
}

ek_status ek_mask_diff(const uint64_t *before, const uint64_t *now, size_t n,
                       struct ek_mask_diff *diff)
{
    if (!before || !now || !size_sound(n) || !diff || !ek_bits_sound(before, n) ||
        !ek_bits_sound(now, n) || (diff->room && (!diff->added || !diff->removed)))
        return EK_E_ARG;
    size_t added = 0, removed = 0;
    for (size_t w = 0; w < ek_mask_words(n); w++) {
        added += ek_bits_count(now[w] & ~before[w]);
        removed += ek_bits_count(before[w] & ~now[w]);
    }
    if (added > diff->room || removed > diff->room) return EK_E_NOMEM;
    added = removed = 0;
    for (size_t w = 0; w < ek_mask_words(n); w++) {
        const uint64_t changed = before[w] ^ now[w];
        if (!changed) continue;
        added += ek_bits_list(changed & now[w], w, diff->added + added);
        removed += ek_bits_list(changed & before[w], w, diff->removed + removed);
    }
    diff->added_count = added, diff->removed_count = removed;
    return EK_OK;
}
