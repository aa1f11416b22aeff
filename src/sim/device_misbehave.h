/* What the files of misbehaviors share. */
#pragma once

#include "sim/device_internal.h"

/* Says what came, and whether it is what must come. */
bool misbehavior_check(const struct device *d, const char *what, int status, int wanted, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Sends Idle and checks the answer. */
bool misbehavior_idle(struct device *d, const char *what, int wanted, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* device_misbehave_user.c: rows of the table. */
bool user_early(struct device *d, struct device *other, GError **error);
bool user_of_phone(struct device *d, struct device *other, GError **error);
bool user_after_check_out(struct device *d, struct device *other, GError **error);
bool token_service(struct device *d, struct device *other, GError **error);
bool declarations_early(struct device *d, struct device *other, GError **error);
bool others_return(struct device *d, struct device *other, GError **error);
bool user_of_return(struct device *d, struct device *other, GError **error);

/* device_misbehave_ota.c: rows of the table. */
bool ota_skip(struct device *d, struct device *other, GError **error);
bool ota_other_link(struct device *d, struct device *other, GError **error);
bool ota_foreign_identity(struct device *d, struct device *other, GError **error);
bool ota_wrong_challenge(struct device *d, struct device *other, GError **error);
bool ota_foreign_factory(struct device *d, struct device *other, GError **error);
bool ota_factory_leaf(struct device *d, struct device *other, GError **error);
bool ota_no_certificates(struct device *d, struct device *other, GError **error);
bool ota_second_device(struct device *d, struct device *other, GError **error);
bool ota_repeat(struct device *d, struct device *other, GError **error);
bool ota_minimal(struct device *d, struct device *other, GError **error);
bool ota_maximal(struct device *d, struct device *other, GError **error);
bool ota_modern(struct device *d, struct device *other, GError **error);
bool watch_replay(struct device *d, struct device *other, GError **error);
bool watch_foreign_token(struct device *d, struct device *other, GError **error);
bool watch_wrong_phone(struct device *d, struct device *other, GError **error);
