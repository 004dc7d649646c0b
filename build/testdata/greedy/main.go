// Greedy takes more and more of one thing, to be ended by a limit, or what is not its own.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	if len(os.Args) == 1 {
		return
	}
	switch os.Args[1] {
	case "memory":
		var all [][]byte
		for {
			block := make([]byte, 8<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			all = append(all, block)
			time.Sleep(10 * time.Millisecond)
		}
	case "tmpfs":
		fill("/tmp/fill")
	case "disk":
		fill("/var/fill")
	case "churn": // as a fork bomb that has been through all process numbers
		for range 1500 {
			_ = exec.Command("/bin/greedy").Run()
		}
		for {
			if err := exec.Command("/bin/greedy", "wait").Start(); err != nil {
				time.Sleep(10 * time.Millisecond)
			}
		}
	case "talk":
		for range 6 {
			fmt.Println("still here")
			time.Sleep(500 * time.Millisecond)
		}
	case "wait":
		time.Sleep(time.Hour)
	case "overwrite": // all files of directories
		for _, dir := range os.Args[2:] {
			fmt.Println(os.WriteFile(dir+"/planted", []byte("evil"), 0o644))
			files, _ := os.ReadDir(dir)
			for _, f := range files {
				file := dir + "/" + f.Name()
				fmt.Println(os.Chmod(file, 0o666), os.WriteFile(file, []byte("evil"), 0o666), os.Rename(file, file+".evil"))
			}
		}
	case "connect": // to an abstract socket
		if _, err := net.Dial("unix", os.Args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "limits": // that the kernel holds
		for _, file := range []string{"limits", "oom_score_adj"} {
			text, _ := os.ReadFile("/proc/self/" + file)
			fmt.Print(string(text))
		}
		text, _ := os.ReadFile("/proc/sys/kernel/pid_max")
		fmt.Print("pid_max ", string(text))
		text, _ = os.ReadFile("/proc/self/stat")
		_, rest, _ := strings.Cut(string(text), ") ")
		fmt.Println("nice", strings.Fields(rest)[16])
		os.Exit(3) // so that what it printed is shown
	}
}

// fill writes as long as there is room.
func fill(name string) {
	f, err := os.Create(name)
	for err == nil {
		_, err = f.Write(make([]byte, 4<<20))
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(time.Hour)
}
