/*
 * replicas.h - cell.json follows the cell: who its replicas are, as they themselves say.
 *
 * cell.json is where one begins to look. Whoever changes the replicas writes it, but he may be
 * interrupted, or do so on another machine; the cell goes on all the same. A number is never given
 * twice, so a number below the next one that is not among the replicas was removed: that is true
 * whoever says it. Only the leader is believed that there is another one.
 */
#ifndef CLI_REPLICAS_H
#define CLI_REPLICAS_H

#include "client.h"
#include "embed.h"

/* Pure: make `cell` what was told. Returns whether anything has changed; the last replica stays. */
bool replicas_follow(struct cell_file *cell, const struct masters *told, bool by_leader);

/* Ask all for their status; ret[i] belongs to client->cell.replicas[i], which is up to date then as
 * far as they know. Returns whether that changed it; cell.json is not written. */
bool replicas_ask(struct client *client, struct client_status ret[CELL_REPLICAS_MAX]);

/* Of those who cannot be reached: what they wrote when they ended, if their directories are beside
 * cell.json. */
void replicas_read_ended(const struct client *client, struct client_status all[CELL_REPLICAS_MAX]);

/*
 * In the embedded cell: cell.json becomes `now`. Who is in it no more is stopped and loses its
 * directory, who is new gets one, with a certificate, and can be started.
 */
int replicas_settle(struct embed *embed, const struct cell_file *now, struct err *err) MUST_USE;

#endif
