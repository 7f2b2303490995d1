/* The topics that one subscriber asked for: prefixes, each counted, since as
 * often as it was asked for it has to be given up (RFC 29, PUB/SUB).
 */
#ifndef RINGFENCE_GATEWAY_ZMQ_SUBSCRIPTIONS_H
#define RINGFENCE_GATEWAY_ZMQ_SUBSCRIPTIONS_H

#include "common/bytes.h"

#define RF_SUBSCRIPTIONS_MAX 1024u          /* topics of one subscriber */
#define RF_SUBSCRIPTION_BYTES_MAX (1u << 20) /* bytes of all of them */

struct rf_subscriptions {
    struct rf_subscription *list; /* owned */
    size_t n, bytes;
};

void rf_subscriptions_deinit(struct rf_subscriptions *subscriptions);
/* 0; -EMSGSIZE over a limit; -ENOMEM. */
int rf_subscriptions_add(struct rf_subscriptions *subscriptions, struct rf_bytes topic);
void rf_subscriptions_remove(struct rf_subscriptions *subscriptions, struct rf_bytes topic);
bool rf_subscriptions_match(const struct rf_subscriptions *subscriptions, struct rf_bytes topic);

#endif
