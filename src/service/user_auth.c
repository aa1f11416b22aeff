/* UserAuthenticate: users of network accounts on Macs. */
#include <string.h>

#include "service/checkin.h"

bool service_user_answer(struct service *service, const struct checkin_message *message, const char *enrollment_id, GBytes **ret, GError **error)
{
	g_autoptr(plist) reply = plist_new_dict();
	g_autofree char *detail = g_strdup_printf("user %s: no AuthToken is asked for", message->who.user_short_name ? message->who.user_short_name : message->who.user_part);

	if (message->digest_response)
		return true;
	plist_dict_set_string(reply, "DigestChallenge", "");
	*ret = plist_format(reply, error);
	return *ret && store_event_again(service->store, enrollment_id, "UserAuthenticate", detail, service_now_ms(service), error);
}
