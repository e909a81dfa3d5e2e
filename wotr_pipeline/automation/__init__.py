"""What starts work by itself: planning and the sensor. Nothing here touches an event."""
