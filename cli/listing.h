/*
 * listing.h - the lists borgctl shows: their SQL and their columns, in one table.
 *
 * A list is read in pages, each beginning after the last key of the one before, so that a cell of
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
enum { LISTING_PAGE_ROWS = 2000 }; /* of a kilobyte each they are half of QUERY_BYTES_MAX */

struct listing {
    struct wire_rows rows; /* of all pages */
    char **texts;          /* the bytes the pages' values point to; owned */
    size_t page_count;
};

/* All rows; `job` NULL: of all jobs, else of the newest of that name. */
int listing_fetch(struct client *client, enum listing_kind kind, const char *job,
                  struct listing *ret, struct err *err) MUST_USE;
void listing_release(struct listing *list);
/* The events after `seq_after`, the newest `count_max` of them, oldest first. */
int listing_events(struct client *client, const char *job, uint64_t seq_after, uint64_t count_max,
                   struct listing *ret, struct err *err) MUST_USE;

/* Print a list as the user wants it; with `single` JSON is the one object, not an array. */
int listing_print(const struct cli *cli, enum listing_kind kind, const struct listing *list,
                  bool single, struct err *err) MUST_USE;
int listing_json(enum listing_kind kind, const struct listing *list, json_t **ret,
                 struct err *err) MUST_USE;
struct render_options listing_render_options(void);

/* The whole command of a job (the list of jobs has its beginning); the caller frees it. */
int listing_command(struct client *client, int64_t id, char **ret, struct err *err) MUST_USE;
/* The id of the newest job of that name; ERR_NOT_FOUND with what to do. */
int listing_job_id(struct client *client, const char *job, int64_t *ret, struct err *err) MUST_USE;

#endif
