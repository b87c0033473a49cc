/* Looks up units of systemd and machines of systemd-machined(8). */

#ifndef CONTAINER_SYSTEMD_H
#define CONTAINER_SYSTEMD_H

#include <stdbool.h>

#include "container/look.h"

/*
 * As look(). Finds the main process of a unit by its control group; NAME means
 * NAME.service. An ordinary user has the units of that user first.
 */
bool unit_look(const char *name, struct sighting *);

/* As look(). Finds the leader of a machine. */
bool machine_look(const char *name, struct sighting *);

#endif
