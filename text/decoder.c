/* A chain of stages. Each gets tokens, in pieces: a piece says whether it ends its token. Before a stage that
 * joins everything (Fuse, ByteLevel) a piece is a whole token; after one, all pieces belong to one token,
 * which ends when the stream does. A stage that must see a token whole gathers its pieces; so such a stage
 * after a joining one holds everything back to the end, which no decoder in use asks for. */
#include "text/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "text/bytelevel.h"
#include "text/component.h"
#include "text/matcher.h"
#include "text/characters.h"

enum stage_kind {
    STAGE_JOIN, /* no decoder */
    STAGE_REPLACE,
    STAGE_BYTE_FALLBACK,
    STAGE_FUSE,
    STAGE_STRIP,
    STAGE_BYTE_LEVEL,
    STAGE_METASPACE
};

struct moe_decoder_stage {
    enum stage_kind kind;
    struct moe_pattern pattern; /* Replace */
    char *content;
    char character[4]; /* Strip, Metaspace */
    size_t n_character;
    size_t start, stop; /* Strip: how many at most */
    bool drops_first;   /* Metaspace: the first token loses its replacements */
};

struct moe_stage_state {
    struct moe_bytes gathered; /* the token so far */
    struct moe_bytes pending;  /* bytes whose meaning depends on what follows */
    struct moe_bytes made;     /* what goes to the next stage */
    struct moe_matcher matcher;
    size_t n_tokens;
    size_t n_leading; /* Strip: characters taken from the token's start, or past_start */
    bool past_start;
    size_t n_trailing; /* Strip: characters held back, which are taken if the token ends */
};

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */
enum { N_REPLACEMENT = sizeof replacement - 1 };

/* ---- reading ------------------------------------------------------------------------------------------ */

static moe_status read_replace(struct moe_decoder_stage *stage, struct moe_json_value v, moe_error *err) {
    const char *content;
    MOE_TRY(moe_pattern_open(&stage->pattern, moe_json_get(v, "pattern"), err));
    MOE_TRY(moe_json_string(&content, moe_json_get(v, "content"), err));
    stage->content = moe_text_copy(content, strlen(content));
    return stage->content ? MOE_OK
                          : MOE_FAIL(err, MOE_E_MEMORY, "%s: %s: out of memory", v.doc->file, v.path);
}

static moe_status read_strip(struct moe_decoder_stage *stage, struct moe_json_value v, moe_error *err) {
    MOE_TRY(moe_component_character(stage->character, &stage->n_character, moe_json_get(v, "content"), err));
    MOE_TRY(moe_json_natural(&stage->start, moe_json_get(v, "start"), err));
    return moe_json_natural(&stage->stop, moe_json_get(v, "stop"), err);
}

static moe_status read_metaspace(struct moe_decoder_stage *stage, struct moe_json_value v, moe_error *err) {
    struct moe_json_value scheme = moe_json_get(v, "prepend_scheme"),
                          legacy = moe_json_get(v, "add_prefix_space");
    const char *name = "always";
    bool add_prefix_space = true;
    MOE_TRY(
        moe_component_character(stage->character, &stage->n_character, moe_json_get(v, "replacement"), err));
    if (scheme.node) MOE_TRY(moe_json_string(&name, scheme, err));
    if (legacy.node) MOE_TRY(moe_json_bool(&add_prefix_space, legacy, err));
    bool never = strcmp(name, "never") == 0;
    if (!never && strcmp(name, "first") != 0 && strcmp(name, "always") != 0)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: \"%s\" is not known", v.doc->file, scheme.path, name);
    if (!never && !add_prefix_space)
        return MOE_FAIL(err, MOE_E_FORMAT, "%s: %s: false does not go with prepend_scheme \"%s\"",
                        v.doc->file, legacy.path, name);
    stage->drops_first = !never;
    return MOE_OK;
}

static moe_status add_stage(struct moe_decoder_stage **out, struct moe_decoder_chain *chain,
                            enum stage_kind kind, moe_error *err) {
    void *stages = chain->stages;
    if (!moe_array_grow(&stages, &chain->capacity, chain->n, 1, sizeof *chain->stages))
        return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
    chain->stages = stages;
    *out = &chain->stages[chain->n++];
    **out = (struct moe_decoder_stage){.kind = kind};
    return MOE_OK;
}

static moe_status read_stage(void *context, const char *type, struct moe_json_value v, moe_error *err) {
    static const char *const names[] = {
        [STAGE_REPLACE] = "Replace", [STAGE_BYTE_FALLBACK] = "ByteFallback", [STAGE_FUSE] = "Fuse",
        [STAGE_STRIP] = "Strip",     [STAGE_BYTE_LEVEL] = "ByteLevel",       [STAGE_METASPACE] = "Metaspace"};
    struct moe_decoder_stage *stage = NULL;
    for (size_t i = STAGE_REPLACE; i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i]) != 0) continue;
        MOE_TRY(add_stage(&stage, context, (enum stage_kind)i, err));
        if (i == STAGE_REPLACE) return read_replace(stage, v, err);
        if (i == STAGE_STRIP) return read_strip(stage, v, err);
        if (i == STAGE_METASPACE) return read_metaspace(stage, v, err);
        return MOE_OK;
    }
    return moe_component_unknown(v, type, err);
}

moe_status moe_decoder_chain_open(struct moe_decoder_chain *out, struct moe_json_value v, moe_error *err) {
    struct moe_decoder_stage *stage;
    *out = (struct moe_decoder_chain){0};
    moe_status status = v.node ? moe_component_each(v, "decoders", read_stage, out, err)
                               : add_stage(&stage, out, STAGE_JOIN, err);
    if (status != MOE_OK) moe_decoder_chain_close(out);
    return status;
}

void moe_decoder_chain_close(struct moe_decoder_chain *chain) {
    for (size_t i = 0; i < chain->n; i++) {
        moe_pattern_close(&chain->stages[i].pattern);
        free(chain->stages[i].content);
    }
    free(chain->stages);
    *chain = (struct moe_decoder_chain){0};
}

/* ---- stages ------------------------------------------------------------------------------------------- */

static moe_status fail_memory(moe_error *err) {
    return MOE_FAIL(err, MOE_E_MEMORY, "out of memory");
}

/* A piece of a token [n] for stage i, and whether it ends it; past the last stage it is output. */
static moe_status feed(struct moe_decoder_stream *s, size_t i, const char *text, size_t n, bool ends,
                       moe_error *err);

/* The made piece goes on. */
static moe_status pass_on(struct moe_decoder_stream *s, size_t i, bool ends, moe_error *err) {
    struct moe_bytes *made = &s->states[i].made;
    moe_status status = feed(s, i + 1, made->data, made->n, ends, err);
    made->n = 0;
    return status;
}

static moe_status replace(struct moe_decoder_stream *s, size_t i, const char *text, size_t n,
                          moe_error *err) {
    const struct moe_decoder_stage *stage = &s->chain->stages[i];
    struct moe_stage_state *state = &s->states[i];
    size_t done = 0, start, end;
    bool found = n > 0; /* in an empty text nothing is looked for */
    if (found) MOE_TRY(moe_matcher_begin(&state->matcher, &stage->pattern, text, n, err));
    while (found) {
        MOE_TRY(moe_matcher_next(&state->matcher, &found, &start, &end, err));
        if (!found) break;
        if (!moe_bytes_append(&state->made, text + done, start - done) ||
            !moe_bytes_append(&state->made, stage->content, strlen(stage->content)))
            return fail_memory(err);
        done = end;
    }
    if (n > done && !moe_bytes_append(&state->made, text + done, n - done)) return fail_memory(err);
    return pass_on(s, i, true, err);
}

/* The value of <0xHH>, or -1. The reference's number parser takes a plus sign for a digit's place. */
static int byte_token(const char *text, size_t n) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    int value = 0;
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    for (size_t k = text[3] == '+' ? 4 : 3; k < 5; k++) {
        const char *digit = memchr(digits, text[k], sizeof digits - 1);
        if (!digit) return -1;
        value = value << 4 | (int)((digit - digits) % 16);
    }
    return value;
}

/* A run of bytes is text if all of it is; else every byte is a U+FFFD. Each is a token of its own then. */
static moe_status flush_bytes(struct moe_decoder_stream *s, size_t i, moe_error *err) {
    struct moe_bytes *run = &s->states[i].pending;
    size_t n = run->n;
    if (n == 0) return MOE_OK;
    run->n = 0;
    if (moe_char_valid_length(run->data, n) == n) return feed(s, i + 1, run->data, n, true, err);
    for (size_t k = 0; k < n; k++) MOE_TRY(feed(s, i + 1, replacement, N_REPLACEMENT, true, err));
    return MOE_OK;
}

static moe_status fall_back(struct moe_decoder_stream *s, size_t i, const char *text, size_t n,
                            moe_error *err) {
    int byte = byte_token(text, n);
    if (byte >= 0) {
        char b = (char)byte;
        return moe_bytes_append(&s->states[i].pending, &b, 1) ? MOE_OK : fail_memory(err);
    }
    MOE_TRY(flush_bytes(s, i, err));
    return feed(s, i + 1, text, n, true, err);
}

/* What is complete of the pending bytes becomes text; U+FFFD stands for what never will be. */
static moe_status make_text(struct moe_stage_state *state, bool finished, moe_error *err) {
    struct moe_bytes *bytes = &state->pending;
    size_t done = 0;
    while (done < bytes->n) {
        size_t length;
        enum moe_char_kind kind = moe_char_next(&length, bytes->data + done, bytes->n - done);
        if (kind == MOE_CHAR_INCOMPLETE && !finished) break;
        bool valid = kind == MOE_CHAR_VALID;
        if (!moe_bytes_append(&state->made, valid ? bytes->data + done : replacement,
                              valid ? length : N_REPLACEMENT))
            return fail_memory(err);
        done += length;
    }
    if (done) memmove(bytes->data, bytes->data + done, bytes->n - done);
    bytes->n -= done;
    return MOE_OK;
}

/* A token of the byte alphabet is its bytes; one with any other character is itself. */
static moe_status bytes_of(struct moe_decoder_stream *s, size_t i, const char *text, size_t n,
                           moe_error *err) {
    struct moe_stage_state *state = &s->states[i];
    size_t before = state->pending.n;
    if (!moe_bytes_grow(&state->pending, n)) return fail_memory(err);
    for (size_t k = 0; k < n;) {
        uint32_t c;
        k += moe_char_decode(&c, text + k);
        int byte = moe_bytelevel_byte(c);
        if (byte < 0) {
            memcpy(state->pending.data + before, text, n);
            state->pending.n = before + n;
            break;
        }
        state->pending.data[state->pending.n++] = (char)byte;
    }
    MOE_TRY(make_text(state, false, err));
    return pass_on(s, i, false, err);
}

static bool is_at(const struct moe_decoder_stage *stage, const char *text, size_t n) {
    return n >= stage->n_character && memcmp(text, stage->character, stage->n_character) == 0;
}

static moe_status metaspace(struct moe_decoder_stream *s, size_t i, const char *text, size_t n, bool ends,
                            moe_error *err) {
    const struct moe_decoder_stage *stage = &s->chain->stages[i];
    struct moe_stage_state *state = &s->states[i];
    bool drops = state->n_tokens == 0 && stage->drops_first;
    for (size_t k = 0; k < n;) {
        size_t length = moe_char_length(text[k]);
        bool is = is_at(stage, text + k, n - k);
        if (!(is && drops) && !moe_bytes_append(&state->made, is ? " " : text + k, is ? 1 : length))
            return fail_memory(err);
        k += length;
    }
    state->n_tokens += ends;
    return pass_on(s, i, ends, err);
}

/* Up to `start` characters at a token's start are taken off at once; up to `stop` that may be its last ones
 * are held back until another follows. */
static moe_status strip(struct moe_decoder_stream *s, size_t i, const char *text, size_t n, bool ends,
                        moe_error *err) {
    const struct moe_decoder_stage *stage = &s->chain->stages[i];
    struct moe_stage_state *state = &s->states[i];
    for (size_t k = 0; k < n;) {
        size_t length = moe_char_length(text[k]);
        bool is = is_at(stage, text + k, n - k);
        const char *character = text + k;
        k += length;
        if (is && !state->past_start && state->n_leading < stage->start) {
            state->n_leading++;
            continue;
        }
        state->past_start = true;
        if (is && state->n_trailing < stage->stop) {
            state->n_trailing++;
            continue;
        }
        for (; !is && state->n_trailing; state->n_trailing--)
            if (!moe_bytes_append(&state->made, stage->character, stage->n_character))
                return fail_memory(err);
        if (!moe_bytes_append(&state->made, character, length)) return fail_memory(err);
    }
    if (ends) {
        state->n_leading = state->n_trailing = 0;
        state->past_start = false;
    }
    return pass_on(s, i, ends, err);
}

static moe_status join(struct moe_decoder_stream *s, size_t i, const char *text, size_t n, moe_error *err) {
    if (s->states[i].n_tokens++) MOE_TRY(feed(s, i + 1, " ", 1, false, err));
    return feed(s, i + 1, text, n, true, err);
}

/* Gathers a token that comes in pieces; *text [*n] is the whole one if it ends here. */
static moe_status gather(struct moe_stage_state *state, const char **text, size_t *n, bool ends,
                         moe_error *err) {
    if (ends && state->gathered.n == 0) return MOE_OK;
    if (!moe_bytes_append(&state->gathered, *text, *n)) return fail_memory(err);
    *text = state->gathered.data;
    *n = state->gathered.n;
    if (ends) state->gathered.n = 0;
    return MOE_OK;
}

static moe_status feed(struct moe_decoder_stream *s, size_t i, const char *text, size_t n, bool ends,
                       moe_error *err) {
    if (i == s->chain->n) return moe_bytes_append(&s->out, text, n) ? MOE_OK : fail_memory(err);
    switch (s->chain->stages[i].kind) {
    case STAGE_FUSE:
        return feed(s, i + 1, text, n, false, err);
    case STAGE_STRIP:
        return strip(s, i, text, n, ends, err);
    case STAGE_METASPACE:
        return metaspace(s, i, text, n, ends, err);
    default:
        break;
    }
    MOE_TRY(gather(&s->states[i], &text, &n, ends, err));
    if (!ends) return MOE_OK;
    switch (s->chain->stages[i].kind) {
    case STAGE_REPLACE:
        return replace(s, i, text, n, err);
    case STAGE_BYTE_FALLBACK:
        return fall_back(s, i, text, n, err);
    case STAGE_BYTE_LEVEL:
        return bytes_of(s, i, text, n, err);
    default:
        return join(s, i, text, n, err);
    }
}

/* Stage i has got all its tokens: what it still holds, and the end of the token that it made of all. */
static moe_status finish_stage(struct moe_decoder_stream *s, size_t i, moe_error *err) {
    struct moe_stage_state *state = &s->states[i];
    state->n_tokens = 0;
    switch (s->chain->stages[i].kind) {
    case STAGE_BYTE_FALLBACK:
        return flush_bytes(s, i, err);
    case STAGE_FUSE:
        return feed(s, i + 1, "", 0, true, err);
    case STAGE_BYTE_LEVEL:
        MOE_TRY(make_text(state, true, err));
        return pass_on(s, i, true, err);
    default:
        return MOE_OK;
    }
}

/* ---- streams ------------------------------------------------------------------------------------------ */

moe_status moe_decoder_stream_open(struct moe_decoder_stream *out, const struct moe_decoder_chain *chain,
                                   moe_error *err) {
    *out = (struct moe_decoder_stream){.chain = chain};
    out->states = calloc(chain->n + 1, sizeof *out->states);
    return out->states ? MOE_OK : fail_memory(err);
}

void moe_decoder_stream_close(struct moe_decoder_stream *s) {
    for (size_t i = 0; i < s->chain->n; i++) {
        moe_bytes_free(&s->states[i].gathered);
        moe_bytes_free(&s->states[i].pending);
        moe_bytes_free(&s->states[i].made);
        moe_matcher_free(&s->states[i].matcher);
    }
    free(s->states);
    moe_bytes_free(&s->out);
    *s = (struct moe_decoder_stream){0};
}

moe_status moe_decoder_stream_token(struct moe_decoder_stream *s, const char *token, size_t n,
                                    moe_error *err) {
    return feed(s, 0, token, n, true, err);
}

moe_status moe_decoder_stream_finish(struct moe_decoder_stream *s, moe_error *err) {
    for (size_t i = 0; i < s->chain->n; i++) MOE_TRY(finish_stage(s, i, err));
    return MOE_OK;
}
