/* Merging one word. A long word (in SentencePiece's older files a whole text is one) is first cut where no
 * merge joins two neighbouring characters: what is on either side never meets. Then both ways below always
 * merge the leftmost of the pairs of least rank, as the reference does: a short part looks for it among all
 * of its pairs, a long one keeps them in a heap. */
#include <stdlib.h>
#include <string.h>

#include "text/bpe_model.h"
#include "text/characters.h"

enum {
    SHORT_PART = 24, /* symbols; measured: the heap wins beyond about 30 */
    NONE = UINT32_MAX
};

struct moe_symbol {
    uint32_t id;
    uint32_t prev, next; /* prev is the symbol's character until the merging begins; NONE if it is not one */
    uint32_t rank, merged; /* of this symbol and the next: the merge's rank (NONE: no merge) and its id */
};

void moe_bpe_scratch_free(struct moe_bpe_scratch *scratch) {
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct moe_bpe_scratch){0};
}

/* ---- symbols ------------------------------------------------------------------------------------------ */

/* Its id + 1, or 0. */
static uint32_t character_id(const struct moe_bpe *bpe, uint32_t c) {
    if (c < sizeof bpe->low / sizeof *bpe->low) return bpe->low[c];
    return moe_character_slot(bpe, c)->id;
}

static void add_symbol(struct moe_bpe_scratch *s, uint32_t id, uint32_t character) {
    s->symbols[s->n].prev = character;
    s->symbols[s->n++].id = id;
}

/* The character's bytes as tokens, if all of them are; else nothing is added. */
static bool add_bytes(struct moe_bpe_scratch *s, const struct moe_bpe *bpe, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!bpe->byte_ids[(unsigned char)text[i]]) return false;
    for (size_t i = 0; i < n; i++) add_symbol(s, bpe->byte_ids[(unsigned char)text[i]] - 1, NONE);
    return true;
}

/* One symbol per character. What is unknown is left out, or stands as `unk`, which is added only when the
 * next known character comes: bytes of a fallback go before it. */
static moe_status split(struct moe_bpe_scratch *s, const struct moe_bpe *bpe, const char *word, size_t n,
                        moe_error *err) {
    bool unk_pending = false;
    s->n = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = moe_char_decode(&c, word + i);
        uint32_t id = character_id(bpe, c);
        if (id) {
            if (unk_pending) add_symbol(s, bpe->unk - 1, NONE);
            unk_pending = false;
            add_symbol(s, id - 1, c);
        } else if (!(bpe->byte_fallback && add_bytes(s, bpe, word + i, length)) && bpe->unk_token) {
            if (unk_pending && !bpe->fuse_unk) add_symbol(s, bpe->unk - 1, NONE);
            if (!bpe->unk)
                return MOE_FAIL(err, MOE_E_FORMAT,
                                "%s: model.unk_token: \"%s\" is not in the vocabulary, and the text "
                                "has a character that is not",
                                bpe->file, bpe->unk_token);
            unk_pending = true;
        }
        i += length;
    }
    if (unk_pending) add_symbol(s, bpe->unk - 1, NONE);
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

/* ---- short parts -------------------------------------------------------------------------------------- */

/* Both of these merge symbols [n], and return how many are left. */
static size_t merge_short(struct moe_symbol *symbols, size_t n, const struct moe_bpe *bpe) {
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (symbols[i].rank < symbols[best].rank) best = i;
        if (n < 2 || symbols[best].rank == NONE) return n;
        symbols[best].id = symbols[best].merged;
        n--;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
        symbols[best].rank = NONE;
        if (best + 1 < n) pair_up(bpe, &symbols[best], &symbols[best + 1]);
        if (best > 0) pair_up(bpe, &symbols[best - 1], &symbols[best]);
    }
}

/* ---- long parts --------------------------------------------------------------------------------------- */

struct heap {
    uint64_t *keys; /* rank << 32 | position */
    size_t n;
};

static void sift_down(struct heap *heap, size_t i) {
    uint64_t *keys = heap->keys, moving = keys[i];
    for (size_t child; (child = 2 * i + 1) < heap->n; i = child) {
        if (child + 1 < heap->n && keys[child + 1] < keys[child]) child++;
        if (moving <= keys[child]) break;
        keys[i] = keys[child];
    }
    keys[i] = moving;
}

static void push(struct heap *heap, uint32_t rank, uint32_t position) {
    uint64_t *keys = heap->keys, key = (uint64_t)rank << 32 | position;
    size_t i = heap->n++;
    for (; i > 0 && keys[(i - 1) / 2] > key; i = (i - 1) / 2) keys[i] = keys[(i - 1) / 2];
    keys[i] = key;
}

static uint64_t pop(struct heap *heap) {
    uint64_t top = heap->keys[0];
    heap->keys[0] = heap->keys[--heap->n];
    if (heap->n) sift_down(heap, 0);
    return top;
}

/* Merges symbol i with the next one, and puts the two pairs that this makes into the heap. */
static void merge_at(struct heap *heap, struct moe_symbol *symbols, uint32_t i, const struct moe_bpe *bpe) {
    struct moe_symbol *symbol = &symbols[i], *gone = &symbols[symbol->next];
    symbol->id = symbol->merged;
    symbol->next = gone->next;
    symbol->rank = gone->rank = NONE;
    gone->id = NONE;
    if (symbol->next != NONE) {
        symbols[symbol->next].prev = i;
        pair_up(bpe, symbol, &symbols[symbol->next]);
        if (symbol->rank != NONE) push(heap, symbol->rank, i);
    }
    if (symbol->prev != NONE) {
        struct moe_symbol *before = &symbols[symbol->prev];
        pair_up(bpe, before, symbol);
        if (before->rank != NONE) push(heap, before->rank, symbol->prev);
    }
}

/* `keys` has room for 2 * n: every merge takes one entry out, and puts up to two in. */
static size_t merge_long(uint64_t *keys, struct moe_symbol *symbols, size_t n, const struct moe_bpe *bpe) {
    struct heap heap = {keys, 0};
    for (uint32_t i = 0; i < n; i++) {
        symbols[i].prev = i ? i - 1 : NONE;
        symbols[i].next = i + 1 < n ? i + 1 : NONE;
        if (symbols[i].rank != NONE) keys[heap.n++] = (uint64_t)symbols[i].rank << 32 | i;
    }
    for (size_t i = heap.n / 2; i-- > 0;) sift_down(&heap, i);
    while (heap.n) {
        uint64_t top = pop(&heap);
        uint32_t i = (uint32_t)top;
        /* a pair that has changed since it was put here has another rank */
        if (symbols[i].rank == top >> 32) merge_at(&heap, symbols, i, bpe);
    }
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (symbols[i].id != NONE) symbols[left++].id = symbols[i].id;
    return left;
}

/* ---- a word ------------------------------------------------------------------------------------------- */

static bool grow_symbols(struct moe_bpe_scratch *s, size_t n) {
    void *symbols = s->symbols;
    bool ok = moe_array_grow(&symbols, &s->symbols_capacity, 0, n, sizeof *s->symbols);
    s->symbols = symbols;
    return ok;
}

static bool grow_heap(struct moe_bpe_scratch *s, size_t n) {
    void *heap = s->heap;
    bool ok = moe_array_grow(&heap, &s->heap_capacity, 0, 2 * n, sizeof *s->heap);
    s->heap = heap;
    return ok;
}

/* Whether no merge reaches from one symbol of the word to the next. */
static bool is_cut(const struct moe_bpe *bpe, const struct moe_symbol *left, const struct moe_symbol *right) {
    if (left->prev == NONE || right->prev == NONE) return false;
    uint32_t bit = moe_join_bit(left->prev, right->prev);
    return !(bpe->joins[bit / 64] >> bit % 64 & 1);
}

static moe_status encode_part(struct moe_ids *ids, const struct moe_bpe *bpe, struct moe_bpe_scratch *s,
                              struct moe_symbol *symbols, size_t n, moe_error *err) {
    for (size_t i = 0; i + 1 < n; i++) pair_up(bpe, &symbols[i], &symbols[i + 1]);
    symbols[n - 1].rank = NONE;
    if (n > SHORT_PART && !grow_heap(s, n)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    n = n > SHORT_PART ? merge_long(s->heap, symbols, n, bpe) : merge_short(symbols, n, bpe);
    if (!moe_ids_grow(ids, n)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) ids->data[ids->n++] = symbols[i].id;
    return MOE_OK;
}

moe_status moe_bpe_encode(struct moe_ids *ids, const struct moe_bpe *bpe, struct moe_bpe_scratch *s,
                          const char *word, size_t n, moe_error *err) {
    uint32_t id;
    if (bpe->ignore_merges && moe_vocab_find(&id, &bpe->vocab, word, n))
        return moe_ids_push(ids, id) ? MOE_OK : MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    if (n >= NONE) return MOE_FAIL(err, MOE_E_ARGUMENT, "a word of %zu bytes is too long", n);
    if (!grow_symbols(s, n)) return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    MOE_TRY(split(s, bpe, word, n, err));
    for (size_t first = 0, last; first < s->n; first = last) {
        last = first + 1;
        while (last < s->n && (s->n <= SHORT_PART || !is_cut(bpe, &s->symbols[last - 1], &s->symbols[last])))
            last++;
        MOE_TRY(encode_part(ids, bpe, s, s->symbols + first, last - first, err));
    }
    return MOE_OK;
}
