#include "service/ddm.h"

bool service_ddm_checkin(struct service *service, const struct ddm_request *request, struct device_reply *ret, GError **error)
{
	/* Not 404: the device would delete what it has. */
	return pom_fail(error, POM_ERR_BUSY, "declarative management is not served yet (endpoint \"%.64s\"): the device asks again", request->endpoint);
}
