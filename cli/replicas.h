/*
 * replicas.h - keep cell.json up to date with the replicas of the cell.
 *
 * cell.json lists the replicas to contact first. The command that changes the replicas updates it,
 * but may be interrupted or run on another machine, and the cell completes the change anyway.
 * Numbers are never reused, so a number below the next one that is no replica was removed; every
 * replica may be believed about that. Only the leader is believed about new replicas.
 */
#ifndef CLI_REPLICAS_H
#define CLI_REPLICAS_H

#include "client.h"
#include "embed.h"

/* Pure: update `cell` from the list in `told`. Return whether it changed; the last replica stays.
 */
bool replicas_follow(struct cell_file *cell, const struct masters *reported, bool by_leader);

/* Ask all replicas for their status; ret[i] belongs to client->cell.replicas[i], which is updated
 * from their answers. Return whether it changed; cell.json is not written. */
bool replicas_ask(struct client *client, struct client_status ret[CELL_REPLICAS_MAX]);

/* For replicas that do not answer: read the reason that they recorded when they ended, if their
 * directories are beside cell.json. */
void replicas_read_ended(const struct client *client, struct client_status all[CELL_REPLICAS_MAX]);

/*
 * In the embedded cell: replace the list in cell.json by `now`. A replica that is no longer in it
 * is stopped and its directory removed; a new one gets a directory and a certificate and can be
 * started.
 */
int replicas_settle(struct embed *embed, const struct cell_file *now, struct err *err) MUST_USE;

#endif
