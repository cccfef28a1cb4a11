package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A Disk is a small file system in a file, which can be made full.
type Disk struct {
	Path    string // where it is mounted
	image   string
	ballast string
}

// MountDisk makes a file system of that many bytes below dir. It needs root, a
// loop device and mkfs.ext4; an error says what is missing.
func MountDisk(dir string, size int64) (*Disk, error) {
	d := &Disk{Path: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk.img")}
	d.ballast = filepath.Join(d.Path, "ballast")
	if err := os.Mkdir(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("making a mount point: %w", err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, fmt.Errorf("making a disk image: %w", err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, fmt.Errorf("making a disk image: %w", err)
	}
	for _, argv := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", d.image},
		{"mount", "-o", "loop", d.image, d.Path},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", argv[0], err, out)
		}
	}
	return d, nil
}

// Fill leaves room for about that many bytes; 0: not for one block. What else is
// free goes to one file.
func (d *Disk) Fill(leave int64) error {
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("filling the disk: %w", err)
	}
	defer f.Close()
	var at int64
	if info, err := f.Stat(); err == nil {
		at = info.Size()
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.Path, &st); err != nil {
		return fmt.Errorf("asking for the disk's free space: %w", err)
	}
	limit := int64(1) << 60
	if leave > 0 {
		limit = at + int64(st.Bavail)*st.Bsize - leave
	}
	for step := int64(64 << 20); step >= 4096; {
		if at+step > limit {
			step /= 2
			continue
		}
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, step); {
		case err == nil:
			at += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		case errors.Is(err, syscall.EINTR):
		default:
			return fmt.Errorf("filling the disk: %w", err)
		}
	}
	return nil
}

// Free gives the room back.
func (d *Disk) Free() error {
	if err := os.Remove(d.ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("freeing the disk: %w", err)
	}
	return nil
}

// Unmount lets the disk go; its image stays until its directory is removed.
func (d *Disk) Unmount() error {
	if out, err := exec.Command("umount", d.Path).CombinedOutput(); err != nil {
		return fmt.Errorf("unmounting the disk: %w: %s", err, out)
	}
	return nil
}
