"""Find the media files in a folder, and describe each as a video."""
