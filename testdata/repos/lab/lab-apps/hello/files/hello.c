#include <greet.h>
#include <stdio.h>

#ifdef SHOUT
#define GREETING "HELLO, WORLD!"
#define STATE "on"
#else
#define GREETING "Hello, world."
#define STATE "off"
#endif

int main(void)
{
	puts(GREETING);
	printf("hello: %s\n", HELLO_VERSION);
	printf("greet: %d\n", greet_version());
	printf("shout: %s\n", STATE);
	printf("cflags: %s\n", HELLO_CFLAGS);
	return 0;
}
