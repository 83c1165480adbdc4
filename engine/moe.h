#ifndef MOE_H
#define MOE_H
/* moe: CPU inference for mixture-of-experts language models, straight from a Hugging Face checkpoint.
 * The only public header; it depends on nothing but C99.
 *
 * Conventions: `out` parameters come first and are NULL after a failure; `err` comes last, may be NULL, and
 * receives one line. The library never exits, never prints, and starts no thread outside a call (OpenBLAS,
 * which is loaded if a model asks for it, may keep idle ones). A model may be shared by threads; a session, a
 * decoder or a sampler belongs to one thread at a time. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOE_API __attribute__((visibility("default")))
#else
#define MOE_API
#endif

/* ---- errors ------------------------------------------------------------------------------------------- */

typedef enum moe_status {
    MOE_OK = 0,
    MOE_E_IO,          /* the system refused to open, read or map a file */
    MOE_E_FORMAT,      /* a file's content is not what its format demands */
    MOE_E_UNSUPPORTED, /* well-formed, but something this engine does not reproduce: the message names it */
    MOE_E_ARGUMENT,    /* the caller's values are outside what the function states */
    MOE_E_MEMORY,      /* not enough memory, or more than this machine has */
    MOE_E_NUMERIC,     /* NaN or infinity where a number is needed */
    MOE_E_CANCELLED,   /* the caller asked to stop */
} moe_status;

enum { MOE_ERROR_SIZE = 512 };

typedef struct moe_error {
    char message[MOE_ERROR_SIZE]; /* one line, no newline, always terminated */
} moe_error;

/* ---- model -------------------------------------------------------------------------------------------- */

typedef struct moe_model moe_model;

/* How matrix products are computed. NATIVE keeps the bits of the scalar kernels whatever the batch,
 * the threads and the chunks; OPENBLAS does not, and is there to compare with. */
typedef enum moe_gemm { MOE_GEMM_NATIVE, MOE_GEMM_OPENBLAS } moe_gemm;

/* What products of BF16 weights, packed or not, take. FP32: activations as they are; all numbers of this
 * engine are these unless it says otherwise. BF16: activations rounded to bfloat16, sums in fp32, for speed
 * where a CPU multiplies pairs of them at once (instruction set "avx512_bf16"), and slower than FP32
 * elsewhere. Its bits, too, are the same whatever the instruction set, the batch, the threads and the chunks.
 * Routers, the gate of shared experts, attention and norms stay in fp32, and so do products of all other
 * formats. */
typedef enum moe_precision { MOE_PRECISION_FP32, MOE_PRECISION_BF16 } moe_precision;

/* Where weights lie while they are used. MAPPED: in the checkpoint's files, which the system reads as they
 * are needed and may drop again. HUGE: the matrices are copied into memory on huge pages when the model
 * opens, as they are. PACKED: likewise, and those in BF16 are packed into 12 bits a weight on the way,
 * without loss: a pass reads a quarter less, and computes the same bits. An embedding that is not the head as
 * well stays mapped. */
typedef enum moe_weights_form { MOE_WEIGHTS_MAPPED, MOE_WEIGHTS_HUGE, MOE_WEIGHTS_PACKED } moe_weights_form;

/* Called now and then by the thread that called, while `phase` ("binding", "packing", ...) goes on: how many
 * of how many items are done. */
typedef void moe_progress_fn(void *context, const char *phase, size_t done, size_t total);

typedef struct moe_model_options {
    const char *isa; /* the best instruction set that may be used ("scalar", "avx2", ...); NULL: all */
    moe_gemm gemm;
    moe_precision precision; /* BF16 needs a model with weights in BF16, and native GEMM */
    bool synthetic;     /* `path` is a config.json (or a directory with one): weights are drawn at random */
    const char *format; /* of the synthetic weights (moe_synthetic_format_name); NULL: "bf16" */
    uint64_t seed;      /* of the synthetic weights */
    moe_weights_form weights;
    size_t n_threads;          /* that copy or pack; 0: the physical cores that the process may use */
    moe_progress_fn *progress; /* phases "binding", then "copying" or "packing": tensors; NULL: none */
    void *context;
} moe_model_options;

typedef struct moe_model_info {
    const char *family;    /* model_type; where config.json has another name for a family, the family's own */
    const char *isa;       /* the fastest instruction set in use */
    const char *gemm;      /* "native", "openblas (sgemm_batch)" or "openblas (loop)" */
    const char *precision; /* "fp32" or "bf16" */
    const char *storage;   /* format of the first expert's first matrix; others may differ: "BF16", "packed
                              BF16", "FP8", "MXFP4", "affine 4-bit", ... */
    size_t n_layers, hidden_size, vocab_size, n_experts;
    size_t n_choices;      /* of the router: experts, and in some families identities after them */
    size_t top_k;          /* the most of any layer */
    size_t max_positions;  /* max_position_embeddings: what the model was made for; no limit of the engine */
    uint64_t n_parameters; /* weights; not the scales of quantised ones */
    uint64_t weight_bytes; /* as they lie in the checkpoint or in memory, scales and the like included */
    size_t n_eos;
    const int64_t *eos; /* [n_eos] of generation_config.json, else config.json */
    int64_t bos;        /* -1: none */
} moe_model_info;

/* Maps the checkpoint in directory `path`, or the one safetensors file `path` with the config.json beside it,
 * and checks config.json, every tensor's name, shape and dtype. MOE_E_UNSUPPORTED for a model_type, a value
 * or a storage format that the engine does not reproduce. MOE_E_MEMORY if this machine does not have what is
 * copied: a few matrices (docs/memory.md), or all of them, as `weights` says. opt may be NULL (all defaults).
 * The caller closes it, after its sessions. */
MOE_API moe_status moe_model_open(moe_model **out, const char *path, const moe_model_options *opt,
                                  moe_error *err);
MOE_API void moe_model_close(moe_model *model); /* NULL is fine */
MOE_API const moe_model_info *moe_model_get_info(const moe_model *model);
/* Experts that a token goes to in a layer, below n_layers, if the layer has any. */
MOE_API size_t moe_model_top_k(const moe_model *model, size_t layer);

/* ---- session ------------------------------------------------------------------------------------------ */

typedef struct moe_session moe_session;

/* What a tap shows: computed values on their way, for comparison with a reference. */
typedef enum moe_tap_kind {
    MOE_TAP_HIDDEN,  /* `values` [n_rows, n]: the residual stream after layer `layer`; n = hidden_size */
    MOE_TAP_EXPERTS, /* `ids` [n_rows, n]: routed experts in the order of choice; n = the layer's top-k */
    MOE_TAP_ROUTER,  /* `values` [n_rows, n]: router logits, its bias included; n = n_choices */
    MOE_TAP_FFN_IN,  /* `values` [n_rows, n]: what the FFN (dense or MoE) of the layer reads */
    MOE_TAP_FFN_OUT  /* `values` [n_rows, n]: what it gives, before a norm or a factor on that */
} moe_tap_kind;

typedef struct moe_tap {
    moe_tap_kind kind;
    size_t layer, n_rows, n;
    const float *values; /* borrowed for the call */
    const uint32_t *ids;
} moe_tap;

typedef struct moe_session_options {
    size_t n_sequences; /* slots; 0 means 1 */
    size_t context;     /* positions each slot can hold; > 0 */
    size_t max_rows;    /* most rows computed at once: longer evals run in chunks of it; 0 means 512 */
    size_t max_logits;  /* most rows of one eval whose logits are wanted; 0 means n_sequences */
    size_t n_threads; /* 0: up to the physical cores that the affinity mask of the process allows, fewer in a
                         pass whose work is too small to share */
    void (*tap)(void *context, const moe_tap *tap); /* NULL: none */
    void *tap_context;
} moe_session_options;

/* One row of a batch: a token at a position of a sequence. */
typedef struct moe_row {
    uint32_t sequence; /* < n_sequences */
    uint32_t position; /* < context */
    uint32_t token;    /* < vocab_size */
    bool logits;       /* keep this row's logits */
} moe_row;

/* What one session has done since it was opened or last reset, rows that it computed anew included
 * (moe_session_expect). Bytes are those the kernels really read. */
typedef struct moe_counters {
    uint64_t n_rows, n_passes;
    uint64_t weight_bytes; /* each matrix once per pass, each expert once per pass that it is routed in */
    uint64_t cache_bytes;  /* keys and values, or latent vectors */
    uint64_t flops;        /* 2 per multiply-add of weights and of what is cached */
} moe_counters;

/* Bytes a session with these options would take, without taking them. */
MOE_API moe_status moe_session_measure(size_t *bytes, const moe_model *model, const moe_session_options *opt,
                                       moe_error *err);
/* Takes all the memory that evaluation will need. MOE_E_MEMORY if this machine does not have it, or as many
 * threads. */
MOE_API moe_status moe_session_open(moe_session **out, const moe_model *model, const moe_session_options *opt,
                                    moe_error *err);
MOE_API void moe_session_close(moe_session *session); /* NULL is fine */

/* Computes `rows` [n_rows] in order and extends their sequences. The rows of one sequence come at ascending
 * consecutive positions, the first at or before the sequence's length: what lies at or after it is forgotten,
 * so that position 0 begins anew. Allocates nothing. The same request gives the same bits whatever else is in
 * the batch, however it is cut into calls (but see moe_session_expect), and for any number of threads (native
 * GEMM). MOE_E_ARGUMENT leaves the session as it was. */
MOE_API moe_status moe_session_eval(moe_session *session, const moe_row *rows, size_t n_rows, moe_error *err);

/* Says that a prompt of `length` positions is about to be fed to a sequence in several calls. It matters
 * where RoPE depends on the length of a sequence: type dynamic past max_position_embeddings, type longrope
 * past original_max_position_embeddings, and all scaled types of phimoe past the latter. The length is that
 * which the sequence has at the end of the call (as in a forward of transformers), or the expected one until
 * it is reached. In general what is cached keeps the rotation that it was computed with. In phimoe the call
 * in which a sequence becomes long, or short again, first computes anew all that the sequence holds: what is
 * announced spares that, and gives earlier rows the logits that a forward of the whole prompt gives them. */
MOE_API void moe_session_expect(moe_session *session, size_t sequence, size_t length);

/* Logits [vocab_size] of the i-th of the rows of the last eval that asked for them; borrowed until the next
 * eval. i below their number, `sequence` below n_sequences: anything else is a fault of the program. */
MOE_API const float *moe_session_logits(const moe_session *session, size_t i);
/* Positions that a sequence holds. */
MOE_API size_t moe_session_length(const moe_session *session, size_t sequence);
MOE_API size_t moe_session_threads(const moe_session *session);
MOE_API moe_counters moe_session_counters(const moe_session *session);
MOE_API void moe_session_reset_counters(moe_session *session);

/* ---- sampling ----------------------------------------------------------------------------------------- */

typedef struct moe_sampling {
    float temperature;    /* >= 0; 0: greedy, the first of the largest logits */
    size_t top_k;         /* 0: all */
    float top_p;          /* (0, 1]; 1: all */
    float min_p;          /* [0, 1]; 0: all */
    float repeat_penalty; /* > 0; 1: none. Logits of tokens in the history: divided by it if positive, else
                             multiplied (transformers' RepetitionPenaltyLogitsProcessor) */
    uint64_t seed;        /* the draw depends on seed and position alone */
} moe_sampling;

typedef struct moe_sampler moe_sampler;

MOE_API moe_status moe_sampler_open(moe_sampler **out, size_t vocab_size, const moe_sampling *sampling,
                                    moe_error *err);
MOE_API void moe_sampler_close(moe_sampler *sampler); /* NULL is fine */
/* Chooses the token that follows `history` [n_history] from logits [vocab_size]; `position` is that of the
 * new token. MOE_E_NUMERIC if any logit is NaN or +infinity, or all are -infinity. */
MOE_API moe_status moe_sampler_choose(uint32_t *token, moe_sampler *sampler, const float *logits,
                                      const uint32_t *history, size_t n_history, size_t position,
                                      moe_error *err);

/* ---- text --------------------------------------------------------------------------------------------- */

typedef struct moe_tokenizer moe_tokenizer;
typedef struct moe_decoder moe_decoder;

/* Reads tokenizer.json of the directory `dir`; needs nothing else of the checkpoint. */
MOE_API moe_status moe_tokenizer_open(moe_tokenizer **out, const char *dir, moe_error *err);
MOE_API void moe_tokenizer_close(moe_tokenizer *tokenizer); /* NULL is fine */
/* Largest id + 1, added tokens included. */
MOE_API size_t moe_tokenizer_size(const moe_tokenizer *tokenizer);
/* How many ids below `limit` have a token. */
MOE_API size_t moe_tokenizer_count(const moe_tokenizer *tokenizer, size_t limit);
/* The largest id that encoding may give: of a token, or of what the post-processor adds. -1: none. */
MOE_API int64_t moe_tokenizer_largest_id(const moe_tokenizer *tokenizer);
/* Whether id is an added token marked special (not part of the text that a reader should see). */
MOE_API bool moe_tokenizer_is_special(const moe_tokenizer *tokenizer, uint32_t id);

/* Encodes `text` [n_text] (any bytes; invalid UTF-8 is an error). `special`: apply the post-processor, which
 * may add BOS. *ids [*n_ids] belongs to the caller: free it with moe_free. */
MOE_API moe_status moe_tokenizer_encode(uint32_t **ids, size_t *n_ids, const moe_tokenizer *tokenizer,
                                        const char *text, size_t n_text, bool special, moe_error *err);
/* Decodes all ids at once, exactly as `tokenizers` does (unknown ids are dropped). skip_special drops special
 * tokens. *text is terminated as well; free it with moe_free. */
MOE_API moe_status moe_tokenizer_decode(char **text, size_t *n_text, const moe_tokenizer *tokenizer,
                                        const uint32_t *ids, size_t n_ids, bool skip_special, moe_error *err);

/* Streaming: what each id adds, an incomplete UTF-8 sequence held back until it is complete. The
 * concatenation of all pieces, the one of moe_decoder_finish included, equals moe_tokenizer_decode of all
 * ids. */
MOE_API moe_status moe_decoder_open(moe_decoder **out, const moe_tokenizer *tokenizer, bool skip_special,
                                    moe_error *err);
MOE_API void moe_decoder_close(moe_decoder *decoder); /* NULL is fine */
/* *piece [*n_piece] is borrowed until the next call on this decoder. */
MOE_API moe_status moe_decoder_next(const char **piece, size_t *n_piece, moe_decoder *decoder, uint32_t id,
                                    moe_error *err);
MOE_API moe_status moe_decoder_finish(const char **piece, size_t *n_piece, moe_decoder *decoder,
                                      moe_error *err);

MOE_API void moe_free(void *p); /* what this library handed over; NULL is fine */

/* ---- checking a checkpoint ---------------------------------------------------------------------------- */

/* A checkpoint that is looked at as a whole: its faults are counted, and nothing of it is copied or computed
 * with. For one thread at a time. */
typedef struct moe_check moe_check;

typedef struct moe_check_options {
    moe_model_options model;             /* as it would be opened; not synthetic. Phases: "checking": MiB */
    size_t max_listed;                   /* faults, and tensors, that are named; the rest is counted; 0: 20 */
    bool (*is_cancelled)(void *context); /* asked many times a second, with model.context; NULL: never */
} moe_check_options;

/* A special id as config.json or generation_config.json has it. */
typedef struct moe_check_id {
    const char *file, *key; /* "config.json", "eos_token_id" */
    int64_t id;
    bool is_inside; /* the vocabulary; or -1 for pad_token_id, which some write for none */
} moe_check_id;

/* A tensor with values that are not finite, as the model sees them: widened, with scales applied. */
typedef struct moe_check_tensor {
    const char *name; /* as the model asks for it; in quantised and packed forms several tensors make it up */
    const char *format; /* "BF16", "FP8", ... */
    uint64_t n_values, n_nan, n_infinite;
} moe_check_tensor;

/* Borrowed from the check; the values are those of moe_check_values, 0 before. */
typedef struct moe_check_report {
    const moe_model_info *model; /* parameters and bytes: of the tensors that are not at fault; if any is,
                                    storage is NULL */
    size_t n_tensors;            /* that the model uses, those at fault included */
    size_t n_faults, n_faults_listed; /* tensors missing, misshapen or of a dtype that is not accepted */
    bool has_more_faults;             /* looking for them ended after 10000 */
    const char *const *faults;        /* [n_faults_listed] what moe_model_open would say of each */
    size_t n_ids, n_ids_outside;
    const moe_check_id *ids;            /* [n_ids] */
    uint64_t n_values, n_bytes;         /* looked at */
    uint64_t n_nan, n_infinite;         /* of them */
    size_t n_tainted, n_tensors_listed; /* tensors with any */
    const moe_check_tensor *tensors;    /* [n_tensors_listed] in the order of the model */
} moe_check_report;

/* Reads config.json, generation_config.json and the header of every file, and finds every tensor that the
 * model needs. Tensors at fault, and special ids outside the vocabulary, are in the report; all else that
 * moe_model_open would refuse is an error here too, but for memory. opt may be NULL. */
MOE_API moe_status moe_check_open(moe_check **out, const char *path, const moe_check_options *opt,
                                  moe_error *err);
MOE_API void moe_check_close(moe_check *check); /* NULL is fine */
/* Looks at every value of the tensors that are not at fault, on model.n_threads threads. Takes no more memory
 * than a few rows; a file that shrinks meanwhile may raise SIGBUS, as whenever weights are read. MOE_E_IO if
 * one did; MOE_E_CANCELLED, and the report has no values then. */
MOE_API moe_status moe_check_values(moe_check *check, moe_error *err);
MOE_API const moe_check_report *moe_check_get_report(const moe_check *check);

/* How a model runs on this machine: all of it in memory; its weights read from the disk again and again,
 * because they are mapped and do not fit beside the rest; not at all, because what cannot be dropped does not
 * fit: opening the model or the session is refused. */
typedef enum moe_runs { MOE_RUNS_IN_MEMORY, MOE_RUNS_FROM_DISK, MOE_RUNS_NOT } moe_runs;

/* Bytes. */
typedef struct moe_memory_plan {
    uint64_t mapped; /* weights used where they lie in the files: the system can drop them */
    uint64_t
        copied; /* weights that are widened, transposed, or on huge pages; without escapes of packed ones */
    uint64_t cache;   /* keys and values, or latent vectors */
    uint64_t scratch; /* the rest of a session */
    uint64_t needed;  /* copied + cache + scratch */
    uint64_t available, total,
        limit; /* of the machine, now; of the control group. UINT64_MAX: unknown, none */
    moe_runs runs;
} moe_memory_plan;

/* What the model and one session take, without taking it. MOE_E_ARGUMENT: tensors are at fault, or options
 * that moe_session_open would refuse. */
MOE_API moe_status moe_check_memory(moe_memory_plan *out, const moe_check *check,
                                    const moe_session_options *opt, moe_error *err);

/* ---- packed checkpoints ------------------------------------------------------------------------------- */

typedef struct moe_pack_options {
    bool replace;                        /* what is at the place already, if it is packed itself */
    size_t n_threads;                    /* 0: the physical cores that the process may use */
    moe_progress_fn *progress;           /* phases "packing", "comparing", "verifying": MiB; NULL: none */
    bool (*is_cancelled)(void *context); /* asked several times a second; NULL: never */
    void *context;
} moe_pack_options;

typedef struct moe_pack_report {
    size_t n_packed, n_copied; /* tensors of the model: packed; as they were */
    uint64_t plain_bytes;      /* of the packed tensors before, in BF16 */
    uint64_t packed_bytes;     /* after, escapes included */
    uint64_t copied_bytes, file_bytes;
    uint64_t n_blocks, n_escapes; /* of 128 weights each; those among them that are kept whole */
} moe_pack_report;

/* Writes the checkpoint `model` (a directory or a safetensors file) anew with every matrix in BF16 packed
 * into 12 bits a weight, without loss; all else is copied. `place` becomes a directory with model.safetensors
 * and the small files of the model, or, if it ends in ".safetensors", that file, with config.json,
 * generation_config.json and tokenizer.json beside it where there are none. It appears whole or not at all,
 * and only once every weight of it was read back, unpacked and found equal. Memory holds what a few threads
 * work on, never the model. MOE_E_UNSUPPORTED if there is nothing to pack, or a model that the engine does
 * not reproduce; MOE_E_ARGUMENT if the place cannot be taken; MOE_E_CANCELLED. opt may be NULL. */
MOE_API moe_status moe_pack_checkpoint(moe_pack_report *report, const char *model, const char *place,
                                       const moe_pack_options *opt, moe_error *err);
/* Whether `packed` holds every tensor of `model`, bit for bit. MOE_E_FORMAT names the first that differs. */
MOE_API moe_status moe_pack_compare(moe_pack_report *report, const char *model, const char *packed,
                                    const moe_pack_options *opt, moe_error *err);
/* Whether every tensor of a packed file, or of a directory with model.safetensors, has the checksum that was
 * written with it. MOE_E_FORMAT names the first that has not; MOE_E_UNSUPPORTED: there are no checksums. */
MOE_API moe_status moe_pack_verify(moe_pack_report *report, const char *packed, const moe_pack_options *opt,
                                   moe_error *err);

/* ---- tensor files ------------------------------------------------------------------------------------- */

/* One safetensors file, for reference dumps; checked like a checkpoint's. */
typedef struct moe_tensors moe_tensors;

enum { MOE_TENSOR_RANK = 8 };

typedef struct moe_tensor_view {
    const char *name, *dtype; /* "F32", "I64", ... */
    size_t rank, shape[MOE_TENSOR_RANK], n_bytes;
    const void *data; /* borrowed until the file is closed; any alignment */
} moe_tensor_view;

MOE_API moe_status moe_tensors_open(moe_tensors **out, const char *file, moe_error *err);
MOE_API void moe_tensors_close(moe_tensors *tensors); /* NULL is fine */
MOE_API size_t moe_tensors_count(const moe_tensors *tensors);
MOE_API moe_tensor_view moe_tensors_get(const moe_tensors *tensors, size_t i);
/* False if there is none of that name. */
MOE_API bool moe_tensors_find(moe_tensor_view *out, const moe_tensors *tensors, const char *name);

/* Writes a file with one F32 tensor [rows appended, n_columns], row by row: its header is completed at the
 * end. */
typedef struct moe_tensor_writer moe_tensor_writer;
MOE_API moe_status moe_tensor_writer_open(moe_tensor_writer **out, const char *file, const char *name,
                                          size_t n_columns, moe_error *err);
MOE_API moe_status moe_tensor_writer_append(moe_tensor_writer *writer, const float *row, moe_error *err);
/* Completes and closes the file, and frees the writer, whatever it returns. NULL is fine. */
MOE_API moe_status moe_tensor_writer_close(moe_tensor_writer *writer, moe_error *err);

/* ---- the machine -------------------------------------------------------------------------------------- */

/* The instruction sets this build has, slowest first: name i, and whether this CPU can run it; NULL past the
 * end. */
MOE_API const char *moe_isa_name(size_t i, bool *runs_here);
/* The formats that synthetic weights may have: name i; NULL past the end. */
MOE_API const char *moe_synthetic_format_name(size_t i);
/* Physical cores that the process may use: the default number of threads. */
MOE_API size_t moe_physical_cores(void);
/* Measured limits of the machine with n_threads threads: bytes/s of reading memory, and FLOP/s of independent
 * multiply-adds, as products of this precision have them, with the fastest instruction set of `isa` (NULL:
 * all). Takes about a second. */
MOE_API moe_status moe_machine_limits(double *bandwidth, double *flops, size_t n_threads, const char *isa,
                                      moe_precision precision, moe_error *err);
MOE_API const char *moe_version(void);

#ifdef __cplusplus
}
#endif
#endif
