/*
 * why_answer.h - print the answers of `why`: for pending tasks and for placed ones.
 */
#ifndef CLI_WHY_ANSWER_H
#define CLI_WHY_ANSWER_H

#include "client.h"

#include <jansson.h>

/* Print why `task` (JOB or JOB/INDEX, as given) is pending; with `names`, print the full lists. */
int why_pending_print(const char *task, const struct wire_rows *rows, bool names,
                      struct err *err) MUST_USE;
int why_pending_json(const char *job, const struct wire_rows *rows, json_t **ret,
                     struct err *err) MUST_USE;

/* Print how an attempt of a task was placed, from the history; `attempt` 0: the last one.
 * ERR_NOT_FOUND if the history does not contain it. */
int why_placed(const struct cli *cli, struct client *client, const char *job, int64_t index,
               uint64_t attempt, struct err *err) MUST_USE;
/* Print a table of the recent reasons for which the job waited, nothing if it did not; likewise
 * return them as a JSON list. */
int why_waited_print(struct client *client, const char *job, struct err *err) MUST_USE;
int why_waited_json(struct client *client, const char *job, json_t **ret, struct err *err) MUST_USE;

#endif
