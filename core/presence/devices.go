package presence

// Devices holds the state of the devices of each account; P is that state.
type Devices[P any] struct {
	accounts map[string]map[string]P
}

// Set notes the state of a device that is there.
func (d *Devices[P]) Set(account, resource string, p P) {
	if d.accounts == nil {
		d.accounts = map[string]map[string]P{}
	}
	if d.accounts[account] == nil {
		d.accounts[account] = map[string]P{}
	}
	d.accounts[account][resource] = p
}

// Remove forgets a device, and says what its state was.
func (d *Devices[P]) Remove(account, resource string) (P, bool) {
	p, ok := d.accounts[account][resource]
	delete(d.accounts[account], resource)
	if len(d.accounts[account]) == 0 {
		delete(d.accounts, account)
	}
	return p, ok
}

// Get returns the state of a device.
func (d *Devices[P]) Get(account, resource string) (P, bool) {
	p, ok := d.accounts[account][resource]
	return p, ok
}

// Of calls yield for each device of an account.
func (d *Devices[P]) Of(account string, yield func(resource string, p P) bool) {
	for r, p := range d.accounts[account] {
		if !yield(r, p) {
			return
		}
	}
}

// Count is how many devices of an account are there.
func (d *Devices[P]) Count(account string) int { return len(d.accounts[account]) }
