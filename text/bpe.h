#ifndef MOE_TEXT_BPE_H
#define MOE_TEXT_BPE_H
/* Byte pair encoding: characters to ids, then pairs merged in the order of their ranks. */

#include "base/status.h"
#include "loader/json.h"
#include "text/buffer.h"
#include "text/vocab.h"

struct moe_merge; /* a slot of the table of merges */
struct moe_character;

struct moe_bpe {
    struct moe_vocab vocab;
    struct moe_merge *merges; /* [n_slots] */
    size_t n_slots;
    struct moe_character *characters; /* [n_character_slots] tokens of one character, beyond `low` */
    size_t n_character_slots;
    uint32_t low[512];      /* code point -> id + 1: all that the byte alphabet has */
    uint32_t byte_ids[256]; /* id + 1 of <0xHH> */
    uint64_t joins[1024];   /* bits: moe_join_bit of two characters that some merge joins */
    bool ignore_merges, byte_fallback, fuse_unk;
    char *unk_token; /* NULL: none */
    uint32_t unk;    /* its id + 1, or 0 if it is not in the vocabulary */
    char *file;      /* for messages */
};

/* `v`: the "model" of tokenizer.json. */
moe_status moe_bpe_open(struct moe_bpe *out, struct moe_json_value v, moe_error *err);
void moe_bpe_close(struct moe_bpe *bpe);

/* What one call of moe_bpe_encode leaves to the next. Zeroed to begin with. */
struct moe_bpe_scratch {
    struct moe_symbol *symbols;
    size_t n, symbols_capacity;
    uint64_t *heap;
    size_t heap_capacity;
};
void moe_bpe_scratch_free(struct moe_bpe_scratch *scratch);

/* Appends the ids of word [n], n > 0, to *ids. */
moe_status moe_bpe_encode(struct moe_ids *ids, const struct moe_bpe *bpe, struct moe_bpe_scratch *scratch,
                          const char *word, size_t n, moe_error *err);

#endif
