/* Shows each line of standard input as a message would. */

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/gost_key.h"
#include "config/mask.h"

int
main(void)
{
	static char line[1 << 20];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		mask_text(line);
		puts(line);
	}
	return 0;
}
