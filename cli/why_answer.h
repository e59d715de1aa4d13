/*
 * why_answer.h - answers to why, shown: of what is pending, and of what was placed.
 */
#ifndef CLI_WHY_ANSWER_H
#define CLI_WHY_ANSWER_H

#include "client.h"

#include <jansson.h>

/* `task`: JOB or JOB/INDEX as it was asked for; `names`: all there are. */
int why_pending_print(const char *task, const struct wire_rows *rows, bool names,
                      struct err *err) MUST_USE;
int why_pending_json(const char *job, const struct wire_rows *rows, json_t **ret,
                     struct err *err) MUST_USE;

/* How an attempt of a task was placed, from the history; `attempt` 0: the last one. ERR_NOT_FOUND
 * when the history does not have it. */
int why_placed(const struct cli *cli, struct client *client, const char *job, int64_t index,
               uint64_t attempt, struct err *err) MUST_USE;
/* For what reasons the job waited, lately: a table, nothing if it did not; the same as a list. */
int why_waited_print(struct client *client, const char *job, struct err *err) MUST_USE;
int why_waited_json(struct client *client, const char *job, json_t **ret, struct err *err) MUST_USE;

#endif
