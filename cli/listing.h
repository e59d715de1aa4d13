/*
 * listing.h - the lists borgctl shows: their SQL and their columns, in one table.
 *
 * A list is read in pages, each starting after the last key of the previous one, so that a cell of
 * any size can be listed within the limits of one query.
 */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "client.h"
#include "render.h"

enum listing_kind {
    LISTING_JOBS,
    LISTING_TASKS,
    LISTING_MACHINES,
    LISTING_EVENTS,
    LISTING_QUOTAS,
    LISTING_ALLOCS,
    LISTING_IDENTITIES,
    LISTING_KIND_COUNT
};
enum { LISTING_PAGE_ROWS = 2000 }; /* about 1 KiB each: half of QUERY_BYTES_MAX */

struct listing {
    struct wire_rows rows; /* of all pages */
    char **texts;          /* the bytes that the pages' values point to; owned */
    size_t page_count;
};

/* Fetch all rows; with `job` NULL of all jobs, else of the newest job of that name. */
int listing_fetch(struct client *client, enum listing_kind kind, const char *job,
                  struct listing *ret, struct err *err) MUST_USE;
void listing_release(struct listing *list);
/* Fetch the newest `count_max` events after `seq_after`, oldest first; with `job` NULL of all jobs,
 * with `index` -1 of all tasks. */
int listing_events(struct client *client, const char *job, int64_t index, uint64_t seq_after,
                   uint64_t count_max, struct listing *ret, struct err *err) MUST_USE;

/* Print a list in the user's output format; with `single`, JSON is one object and not an array. */
int listing_print(const struct cli *cli, enum listing_kind kind, const struct listing *list,
                  bool single, struct err *err) MUST_USE;
int listing_json(enum listing_kind kind, const struct listing *list, json_t **ret,
                 struct err *err) MUST_USE;
struct render_options listing_render_options(void);

/* Fetch the whole command of a job (the list of jobs has its beginning); the caller frees it. NULL
 * if it is private to the job's user. *ret_labels: the labels as JSON, likewise; NULL: none. */
int listing_command(struct client *client, int64_t id, char **ret, char **ret_labels,
                    struct err *err) MUST_USE;
/* Return the id of the newest job of that name; the message of ERR_NOT_FOUND says what to do. */
int listing_job_id(struct client *client, const char *job, int64_t *ret, struct err *err) MUST_USE;

#endif
