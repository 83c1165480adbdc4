#ifndef MOE_CLI_MODEL_PATH_H
#define MOE_CLI_MODEL_PATH_H
/* Which model a user means. */

/* The path of `model`: a directory, or a safetensors file with config.json beside it; or org/name, or name,
 * in the Hugging Face cache; NULL: the checkpoint that ships with the project. Free it with free(). Ends the
 * program when there is none. Nothing is downloaded or written. */
char *model_path(const char *model);

/* The directory that a path is, or that it is a file of. Free it with free(). */
char *model_directory(const char *path);

#endif
