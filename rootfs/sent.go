package rootfs

import "os"

// Sent calls visit for each entry of the list that came last: the whole of it, or the change.
func (r *Receiver) Sent(visit func(*Entry) error) error {
	f, err := os.Open(r.sent.name)
	if err != nil {
		return err
	}
	defer f.Close()
	return Each(NewListReader(f, false), visit)
}
