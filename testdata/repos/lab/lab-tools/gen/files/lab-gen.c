#include <stdio.h>

/* Writes the C source of a program that prints the given text. */
int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: lab-gen TEXT\n");
		return 2;
	}
	printf("#include <stdio.h>\n\n");
	printf("int main(void)\n{\n\treturn puts(\"%s\") < 0;\n}\n", argv[1]);
	return 0;
}
