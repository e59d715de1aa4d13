/*
 * row_hash.c - what each row adds to the digest of its cell: the hash of its record, and what is
 * long and hashed by itself when it changes.
 *
 * The salts tell rows of different tables apart.
 */
#include "cell_write.h"

#include "fields.h"
#include "hash.h"

enum {
    SALT_SPEC = 1,
    SALT_MACHINE,
    SALT_JOB,
    SALT_TASK,
    SALT_REQUEST,
    SALT_ATTRIBUTES,
    SALT_IDENTITY,
    SALT_QUOTA,
    SALT_MASTERS,
    SALT_NAMES,
    SALT_LABELS
};

/* A row that has only initial values is still a row. */
static uint64_t row_hash(const struct record *record, const void *item, uint64_t salt)
{
    return hash_add(record_hash(record, item, hash_u64(salt)), salt);
}

uint64_t spec_row_hash(const struct job_spec *spec)
{
    return row_hash(&job_spec_record, spec, SALT_SPEC);
}

static uint64_t words_hash(uint64_t salt, const struct words *words)
{
    return hash_bytes(hash_add(salt, words->count), words->bytes, words->size);
}

uint64_t attributes_row_hash(const struct machine *machine)
{
    uint64_t labels = machine->labels.count == 0 ? 0 : words_hash(SALT_LABELS, &machine->labels);
    return words_hash(SALT_ATTRIBUTES, &machine->attributes) + labels;
}

uint64_t machine_row_hash(const struct machine *machine)
{
    return row_hash(&machine_record, machine, SALT_MACHINE);
}

uint64_t job_row_hash(const struct job *job)
{
    return row_hash(&job_record, job, SALT_JOB);
}

uint64_t task_row_hash(const struct task *task)
{
    return row_hash(&task_record, task, SALT_TASK);
}

uint64_t request_row_hash(uint64_t seq, const struct remembered *row)
{
    struct request_row whole = {seq, *row};
    return row_hash(&request_row_record, &whole, SALT_REQUEST);
}

uint64_t identity_row_hash(const struct identity_row *row)
{
    return row_hash(&identity_row_record, row, SALT_IDENTITY);
}

uint64_t quota_row_hash(const struct quota *quota)
{
    return row_hash(&quota_record, quota, SALT_QUOTA);
}

/* There are few, and they hardly ever change: hashed anew each time. */
uint64_t masters_row_hash(uint64_t hash, const struct masters *masters)
{
    return hash_add(hash, row_hash(&masters_record, masters, SALT_MASTERS));
}

uint64_t resource_names_row_hash(uint64_t hash, const struct resource_names *names)
{
    return hash_add(hash, row_hash(&resource_names_record, names, SALT_NAMES));
}
