// SPDX-License-Identifier: GPL-2.0
// A driver of QEMU's `edu` device that lets it go as a GPU's does: its remove() waits until nobody has /dev/edu_held open; or,
// for a reason that no reference shows, while the parameter `holds` is set. Linux' hotplug waits with it, and Xen's toolstack gives up.
#include <linux/delay.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>

static atomic_t users;
static bool holds;
module_param(holds, bool, 0644);

static bool in_use(void)
{
	return atomic_read(&users) || READ_ONCE(holds);
}

static int held_open(struct inode *inode, struct file *file)
{
	atomic_inc(&users);
	return 0;
}

static int held_release(struct inode *inode, struct file *file)
{
	atomic_dec(&users);
	return 0;
}

static const struct file_operations held_files = { .owner = THIS_MODULE, .open = held_open, .release = held_release };
static struct miscdevice held_node = { .minor = MISC_DYNAMIC_MINOR, .name = "edu_held", .fops = &held_files };

static int held_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	return pci_enable_device(device);
}

static void held_remove(struct pci_dev *device)
{
	if (in_use())
		pci_warn(device, "is to be removed while it is in use\n");
	while (in_use())
		msleep(50);
	pci_disable_device(device);
}

static const struct pci_device_id held_devices[] = { { PCI_DEVICE(0x1234, 0x11e8) }, {} };
static struct pci_driver held = { .name = "edu_held", .id_table = held_devices, .probe = held_probe, .remove = held_remove };

static int __init held_init(void)
{
	int error = misc_register(&held_node);

	if (error)
		return error;
	error = pci_register_driver(&held);
	if (error)
		misc_deregister(&held_node);
	return error;
}

static void __exit held_exit(void)
{
	pci_unregister_driver(&held);
	misc_deregister(&held_node);
}

module_init(held_init);
module_exit(held_exit);
MODULE_DESCRIPTION("keeps QEMU's edu device while a program has its node open");
MODULE_LICENSE("GPL");
