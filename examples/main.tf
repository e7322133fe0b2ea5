# A server with Terraform's (or OpenTofu's) OpenStack provider:
#   OS_CLIENT_CONFIG_FILE=var/clouds.yaml OS_CLOUD=novella terraform apply
# Read against the provider's source, not run: every request that this file leads to is one that
# the tests send.
terraform {
  required_providers {
    openstack = {
      source = "terraform-provider-openstack/openstack"
    }
  }
}

provider "openstack" {
  cloud = "novella"
}

data "openstack_images_image_v2" "tiny" {
  name = "tiny"
}

data "openstack_compute_flavor_v2" "tiny" {
  name = "tiny"
}

resource "openstack_compute_keypair_v2" "key" {
  name       = "terraform"
  public_key = file("~/.ssh/id_ed25519.pub")
}

resource "openstack_compute_instance_v2" "web" {
  name      = "from-terraform"
  image_id  = data.openstack_images_image_v2.tiny.id
  flavor_id = data.openstack_compute_flavor_v2.tiny.id
  key_pair  = openstack_compute_keypair_v2.key.name

  metadata = {
    made_by = "terraform"
  }

  network {
    name = "default"
  }
}

output "address" {
  value = openstack_compute_instance_v2.web.access_ip_v4
}
