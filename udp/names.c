/* Opens a resolver, and logs its errors. */

#include <stddef.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/memory.h"
#include "config/map.h"
#include "dial/resolve.h"
#include "dns/files.h"
#include "dns/resolver.h"
#include "dns/result.h"
#include "udp/names.h"

struct dns_resolver *
names_open(void)
{
	struct dns_resolver *r =
	    memory_map(NULL, 1, sizeof(*r), MAP_PRIVATE | MAP_NORESERVE);

	if (!r)
		return NULL;
	if (dns_resolver_init(r, resolver_source(), 0) == 0)
		return r;
	munmap(r, sizeof(*r));
	return NULL;
}

void
names_log(const struct map *map, const char *name,
    const struct dns_result *result)
{
	char path[DNS_PATH_SIZE], text[DNS_TEXT_MAX];

	dns_files_path(&resolver_source()->files, result->file, path);
	log_ratelimited("'%s': no address of '%s': %s", map->spec, name,
	    dns_result_text(result, path, text, sizeof(text)));
}
