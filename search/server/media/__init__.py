"""What is shown of clips: pictures, sound and stretches that browsers play."""
