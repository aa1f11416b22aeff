/* Encrypted profiles for a known key: the bytes are the envelope, or a whole profile. What opens is a profile again, and closes again. */
#include <string.h>

#include "keys/profile_crypt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made for this file, and used for nothing else. */
static const char pem[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBALm4MmvK8ibpWkf2\n"
	"6BLsRokdd6ejXFlQDrWoiBngqsmoODLzuq6oUSHLPwkQw1B7EuPDleiQUFISY1/e\n"
	"VDId9I5jMhmLNTd/KtPLOmEKLEHOAzy2GVfeSA0Is9x+PWmp9asNQDMH/9weJ3+/\n"
	"6Fioc4PgEJt35xUEueAZmPnZ1LUJAgMBAAECgYBC6ALyJmjab9LgfijZOFmo5/7F\n"
	"W+rXGipSc2aku/WLNJkacgfdCDJCVHBfGbTjd5M0jq+g2uy0xH8ceIIok/YX//mP\n"
	"L1hZ/rXopS1dJ0LQcHMa4Y8S+09RZGNKgcLSlb7uP2L450vhTI7EOkvheggmdboL\n"
	"AeqFsybIsGRnHKI6iQJBAPAl1nezuNu8hEK4HwNxvC/rNsUEStlZc/RY0qonfhJS\n"
	"gn5F+Qll7+bG/v62n7EsLOLAqhjJxNHPIEZf5hPgh9cCQQDF+pjmA6NMJZr839QH\n"
	"jZIYRrK59SUx1wSZvLOCAy4YpqZgKpqwMui4XOqRyb3u00XALL0sqCvQVBQgXnJ2\n"
	"rY4fAkEA5hXqqR+Jowa41c/g7wTeoC7Fd/hH2n0JSvh7Rsm10co5+tAB7g47zymk\n"
	"ENlaoX7ItqyPjFZs+/RuYN7q6up6WwJAHgS2REIO84/MJUWG77I+kaG+ncWW4yy4\n"
	"DNt42GDFD4XNOk2bcNX3RWUJSBuvydONAuuFr4y8P/VPq+zGLEp6fwJBALDIZA+6\n"
	"CZvMqRTkjI5eabetV1j3s9laijLlPJzABh8LYShbNuta1GKL06FKURHzQ0QfrZnb\n"
	"swCoEJZOaQvQ0eY=\n"
	"-----END PRIVATE KEY-----\n";

static plist *read_profile(const uint8_t *data, size_t size)
{
	plist *profile;

	if (!size || *data != 0x30)
		return plist_parse(data, size, NULL, NULL);
	profile = plist_new_dict();
	plist_dict_set_data(profile, "EncryptedPayloadContent", data, size);
	return profile;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct signer *key;
	g_autoptr(plist) profile = read_profile(data, size), open = NULL;

	if (!key)
		key = signer_parse_any(pem, strlen(pem), NULL, NULL);
	g_assert(key);
	open = profile ? profile_decrypt(profile, key, NULL, pom_random_system(), NULL) : NULL;
	g_assert(!open || (!profile_is_encrypted(open) && plist_get_type(plist_dict_get(open, "PayloadContent")) == PLIST_ARRAY));
	return 0;
}
