"""The files of containers, volumes and images: looked at, copied, made an image."""
