/* Merging one word. Both ways below always merge the leftmost of the pairs of least rank, as the reference
 * does: a short word looks for it among all of its pairs, a long one (in SentencePiece's older files a whole
 * text is one word) keeps them in a heap. */
#include <stdlib.h>
#include <string.h>

#include "text/bpe_model.h"
#include "text/characters.h"

enum {
    SHORT_WORD = 24, /* symbols; measured: the heap wins beyond about 30 */
    NONE = UINT32_MAX
};

struct moe_symbol {
    uint32_t id;
    uint32_t prev, next;
    uint32_t rank, merged; /* of this symbol and the next: the merge's rank (NONE: no merge) and its id */
};

void moe_bpe_scratch_free(struct moe_bpe_scratch *scratch) {
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct moe_bpe_scratch){0};
}

/* ---- symbols ------------------------------------------------------------------------------------------ */

/* Its id + 1, or 0. */
static uint32_t character_id(const struct moe_bpe *bpe, const char *s) {
    uint32_t c;
    moe_char_decode(&c, s);
    if (c < sizeof bpe->low / sizeof *bpe->low) return bpe->low[c];
    return moe_character_slot(bpe, c)->id;
}

static void add_symbol(struct moe_bpe_scratch *s, uint32_t id) {
    s->symbols[s->n++].id = id;
}

/* The character's bytes as tokens, if all of them are; else nothing is added. */
static bool add_bytes(struct moe_bpe_scratch *s, const struct moe_bpe *bpe, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!bpe->byte_ids[(unsigned char)text[i]]) return false;
    for (size_t i = 0; i < n; i++) add_symbol(s, bpe->byte_ids[(unsigned char)text[i]] - 1);
    return true;
}

/* One symbol per character. What is unknown is left out, or stands as `unk`, which is added only when the
 * next known character comes: bytes of a fallback go before it. */
static moe_status split(struct moe_bpe_scratch *s, const struct moe_bpe *bpe, const char *word, size_t n,
                        moe_error *err) {
    bool unk_pending = false;
    s->n = 0;
    for (size_t i = 0; i < n;) {
        size_t length = moe_char_length(word[i]);
        uint32_t id = character_id(bpe, word + i);
        if (id) {
            if (unk_pending) add_symbol(s, bpe->unk - 1);
            unk_pending = false;
            add_symbol(s, id - 1);
        } else if (!(bpe->byte_fallback && add_bytes(s, bpe, word + i, length)) && bpe->unk_token) {
            if (unk_pending && !bpe->fuse_unk) add_symbol(s, bpe->unk - 1);
            if (!bpe->unk)
                return MOE_FAIL(err, MOE_E_FORMAT,
                                "%s: model.unk_token: \"%s\" is not in the vocabulary, and the text "
                                "has a character that is not",
                                bpe->file, bpe->unk_token);
            unk_pending = true;
        }
        i += length;
    }
    if (unk_pending) add_symbol(s, bpe->unk - 1);
    return MOE_OK;
}

/* Looks up the merge of a symbol with the one that follows it. */
static inline void pair_up(const struct moe_bpe *bpe, struct moe_symbol *left,
                           const struct moe_symbol *right) {
    const struct moe_merge *merge = moe_merge_slot(bpe, left->id, right->id);
    bool found = merge->key != MOE_NO_MERGE;
    left->rank = found ? merge->rank : NONE;
    left->merged = found ? merge->id : 0;
}

/* ---- short words -------------------------------------------------------------------------------------- */

static void merge_short(struct moe_bpe_scratch *s, const struct moe_bpe *bpe) {
    struct moe_symbol *symbols = s->symbols;
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < s->n; i++)
            if (symbols[i].rank < symbols[best].rank) best = i;
        if (s->n < 2 || symbols[best].rank == NONE) return;
        symbols[best].id = symbols[best].merged;
        s->n--;
        memmove(symbols + best + 1, symbols + best + 2, (s->n - best - 1) * sizeof *symbols);
        symbols[best].rank = NONE;
        if (best + 1 < s->n) pair_up(bpe, &symbols[best], &symbols[best + 1]);
        if (best > 0) pair_up(bpe, &symbols[best - 1], &symbols[best]);
    }
}

/* ---- long words --------------------------------------------------------------------------------------- */

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t moving = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (moving <= heap[child]) break;
        heap[i] = heap[child];
    }
    heap[i] = moving;
}

static void push(struct moe_bpe_scratch *s, uint32_t position) {
    uint64_t key = (uint64_t)s->symbols[position].rank << 32 | position;
    size_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 2] > key; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = key;
}

static uint64_t pop(struct moe_bpe_scratch *s) {
    uint64_t top = s->heap[0];
    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap) sift_down(s->heap, s->n_heap, 0);
    return top;
}

/* Merges symbol i with the next one, and puts the two pairs that this makes into the heap. */
static void merge_at(struct moe_bpe_scratch *s, const struct moe_bpe *bpe, uint32_t i) {
    struct moe_symbol *symbols = s->symbols, *symbol = &symbols[i], *gone = &symbols[symbol->next];
    symbol->id = symbol->merged;
    symbol->next = gone->next;
    symbol->rank = gone->rank = NONE;
    gone->id = NONE;
    if (symbol->next != NONE) {
        symbols[symbol->next].prev = i;
        pair_up(bpe, symbol, &symbols[symbol->next]);
        if (symbol->rank != NONE) push(s, i);
    }
    if (symbol->prev != NONE) {
        pair_up(bpe, &symbols[symbol->prev], symbol);
        if (symbols[symbol->prev].rank != NONE) push(s, symbol->prev);
    }
}

static void merge_long(struct moe_bpe_scratch *s, const struct moe_bpe *bpe) {
    uint32_t n = (uint32_t)s->n;
    s->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->symbols[i].prev = i ? i - 1 : NONE;
        s->symbols[i].next = i + 1 < n ? i + 1 : NONE;
        if (s->symbols[i].rank != NONE) s->heap[s->n_heap++] = (uint64_t)s->symbols[i].rank << 32 | i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0;) sift_down(s->heap, s->n_heap, i);
    while (s->n_heap) {
        uint64_t top = pop(s);
        uint32_t i = (uint32_t)top;
        /* a pair that has changed since it was put here has another rank */
        if (s->symbols[i].rank == top >> 32) merge_at(s, bpe, i);
    }
    s->n = 0;
    for (uint32_t i = 0; i < n; i++)
        if (s->symbols[i].id != NONE) s->symbols[s->n++].id = s->symbols[i].id;
}

/* ---- a word ------------------------------------------------------------------------------------------- */

static bool grow_scratch(struct moe_bpe_scratch *s, size_t n) {
    void *symbols = s->symbols;
    bool ok = moe_array_grow(&symbols, &s->symbols_capacity, 0, n + 1, sizeof *s->symbols);
    s->symbols = symbols;
    return ok;
}

static bool grow_heap(struct moe_bpe_scratch *s) {
    void *heap = s->heap; /* every merge takes one entry out, and puts up to two in */
    bool ok = moe_array_grow(&heap, &s->heap_capacity, 0, 2 * s->n, sizeof *s->heap);
    s->heap = heap;
    return ok;
}

moe_status moe_bpe_encode(struct moe_ids *ids, const struct moe_bpe *bpe, struct moe_bpe_scratch *s,
                          const char *word, size_t n, moe_error *err) {
    uint32_t id;
    if (n == 0) return MOE_OK;
    if (bpe->ignore_merges && moe_vocab_find(&id, &bpe->vocab, word, n))
        return moe_ids_push(ids, id) ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    if (n >= NONE) return MOE_FAIL(err, MOE_E_ARGUMENT, "a word of %zu bytes is too long", n);
    if (!grow_scratch(s, n)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(split(s, bpe, word, n, err));
    if (s->n == 0) return MOE_OK;
    for (size_t i = 0; i + 1 < s->n; i++) pair_up(bpe, &s->symbols[i], &s->symbols[i + 1]);
    s->symbols[s->n - 1].rank = NONE;
    if (s->n <= SHORT_WORD) {
        merge_short(s, bpe);
    } else {
        if (!grow_heap(s)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
        merge_long(s, bpe);
    }
    if (!moe_ids_grow(ids, s->n)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    for (size_t i = 0; i < s->n; i++) ids->data[ids->n++] = s->symbols[i].id;
    return MOE_OK;
}
